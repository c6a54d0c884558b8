"""Which steps are tried before a sweep's first trial: what cannot run is then known at once, and how long a run takes.

A comparison tries each of its programs. The trials of a sweep are not known before it runs; those that are tried have
every value of every list, one changed at a time.
"""

from collections.abc import Iterator

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from attention_jax.base.errors import Refused
from attention_jax.study.engine.cells import Cell, cell_name
from attention_jax.study.search.parameters import distributions, point_of
from attention_jax.study.search.space import Point, Points, Space, described
from attention_jax.study.sweep.plan import Sweep

_MOST = 8


def preflight(sweep: Sweep) -> list[Cell]:
    """Returns at most 8 cells that a sweep may have, each another program; points that are refused are left out."""
    cells: dict[str, Cell] = {}
    for point in _points(sweep.space):
        try:
            config = sweep.base.config(point)
        except Refused:
            # The trial says so, before anything is compiled.
            continue
        cell = Cell(cell_name("preflight", str(len(cells))), config, title=f"a step of {described(point)}")
        cells.setdefault(cell.program, cell)
        if len(cells) == _MOST:
            break
    return list(cells.values())


def _points(space: Space | Points) -> Iterator[Point]:
    if isinstance(space, Points):
        # Numbers such as a learning rate are compiled in, but change neither what can run nor how long it takes.
        kept: dict[str, Point] = {}
        for point in space.points:
            kept.setdefault(repr({key: value for key, value in point.items() if not isinstance(value, float)}), point)
        yield from kept.values()
        return
    known = distributions(space)
    yield _point(space, {})
    for name, distribution in known.items():
        if isinstance(distribution, CategoricalDistribution):
            yield from (_point(space, {name: value}) for value in distribution.choices[1:])


def _point(space: Space, given: Point) -> Point:
    """Returns the point of some parameters, the others being the first of their list or the low end of their range."""

    def choose(name: str, distribution: BaseDistribution) -> object:
        if name in given:
            return given[name]
        if isinstance(distribution, CategoricalDistribution):
            return distribution.choices[0]
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        return distribution.low

    return point_of(space, choose)
