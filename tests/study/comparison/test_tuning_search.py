"""The points of a search: each once, the same whoever asks again, and more of them go on from those before."""

import math

import pytest

from attention_jax.study.comparison.tuning_search import make_search
from attention_jax.study.search.domains import Choice, Range
from attention_jax.study.search.space import Point, Space, product

RATES = Space({"optimizer.learning_rate": Range(1e-4, 1e-1, log=True), "model.width": Choice((32, 64))})
HOW = {"seed": 0, "rising": False}


def run(space: object, **how: object) -> list[Point]:
    """Runs a search in which the loss is least at 0.01 and above 0.05 there is none."""
    search = make_search(space, **{**HOW, **how})  # type: ignore[arg-type]
    while (point := search.ask()) is not None:
        rate = point["optimizer.learning_rate"]
        search.tell(point, None if rate > 0.05 else abs(math.log10(rate) + 2))
    assert search.exhausted
    return list(search.points)


@pytest.mark.parametrize("sampler", ["tpe", "random", "quasi_random"])
def test_a_search_draws_the_same_again_and_a_longer_one_goes_on_from_it(sampler):
    long = run(RATES, sampler=sampler, trials=16)
    assert len(long) == 16
    assert run(RATES, sampler=sampler, trials=16) == long
    assert run(RATES, sampler=sampler, trials=12) == long[:12]
    assert run(RATES, sampler=sampler, trials=16, seed=1) != long


def test_what_was_told_guides_the_later_trials():
    late = [point["optimizer.learning_rate"] for point in run(RATES, sampler="tpe", trials=30)[15:]]
    blind = [point["optimizer.learning_rate"] for point in run(RATES, sampler="random", trials=30)[15:]]
    near = lambda rates: sum(abs(math.log10(rate) + 2) < 0.5 for rate in rates)  # noqa: E731
    assert near(late) > near(blind)


def test_a_grid_has_each_combination_once():
    grid = Space({"optimizer.learning_rate": Choice((1e-3, 1e-2)), "model.width": Choice((32, 64))})
    points = [(point["optimizer.learning_rate"], point["model.width"]) for point in run(grid, sampler="grid", trials=4)]
    assert points == [(1e-3, 32), (1e-3, 64), (1e-2, 32), (1e-2, 64)]
    listed = product({"optimizer.learning_rate": [1e-3, 1e-2]})
    assert len(run(listed, sampler="grid", trials=2)) == 2


def test_a_point_that_is_drawn_again_is_not_tried_again():
    two = Space({"optimizer.learning_rate": Choice((1e-3, 1e-2))})
    assert len(run(two, sampler="tpe", trials=9)) == 2
    assert len(run(two, sampler="random", trials=9)) == 2
