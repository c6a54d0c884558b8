"""The trials of one search, point by point: all known from the start, or each drawn from what the others gave."""

from collections.abc import Sequence
from typing import Protocol

import optuna

from attention_jax.study.comparison.plan import point_name
from attention_jax.study.search import parameters
from attention_jax.study.search.samplers import make_sampler, quasi_random
from attention_jax.study.search.space import Point, Points, Space


class Search(Protocol):
    """The points of one variant on one benchmark, each once; which they are depends on no order of finishing."""

    @property
    def points(self) -> Sequence[Point]:
        """Those that were handed out, in their order."""

    @property
    def exhausted(self) -> bool:
        """Whether none will come any more."""

    def ask(self) -> Point | None:
        """Returns the next; None when there is none before another is told."""

    def tell(self, point: Point, score: float | None) -> None:
        """Takes what a point gave; None where its trial did not run to its end."""


class Listed:
    """Points that are known from the start, all of which may be tried at once."""

    def __init__(self, points: Sequence[Point]):
        distinct = {point_name(point): point for point in points}
        self._all, self._handed = list(distinct.values()), 0

    @property
    def points(self) -> Sequence[Point]:
        """Those that were handed out, in their order."""
        return self._all[: self._handed]

    @property
    def exhausted(self) -> bool:
        """Whether each was handed out."""
        return self._handed == len(self._all)

    def ask(self) -> Point | None:
        """Returns the next of the list."""
        if self.exhausted:
            return None
        self._handed += 1
        return self._all[self._handed - 1]

    def tell(self, point: Point, score: float | None) -> None:
        """Learns nothing."""


class Guided:
    """Points that a sampler draws from what those before gave, one at a time.

    With several at once a draw would depend on which of them ended first. The study is kept in memory: one that is
    continued draws the same again, since each draw depends on the seed, its number and the scores alone.
    """

    def __init__(self, space: Space, *, sampler: str, seed: int, trials: int, rising: bool):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            sampler=make_sampler(sampler, seed=seed), direction="maximize" if rising else "minimize"
        )
        self._space, self._trials = space, trials
        self._open: optuna.trial.Trial | None = None
        self._points: dict[str, Point] = {}
        self._scores: dict[str, float | None] = {}

    @property
    def points(self) -> Sequence[Point]:
        """Those that were handed out, in their order."""
        return list(self._points.values())

    @property
    def exhausted(self) -> bool:
        """Whether all trials were drawn and told."""
        return self._open is None and len(self._study.get_trials(deepcopy=False)) >= self._trials

    def ask(self) -> Point | None:
        """Draws the next; one that was drawn before counts as a trial, and its score as told again."""
        while self._open is None and not self.exhausted:
            self._open = self._study.ask()
            point = parameters.point_of(self._space, parameters.from_trial(self._open))
            name = point_name(point)
            if name not in self._points:
                self._points[name] = point
                return point
            self._close(self._scores[name])
        return None

    def tell(self, point: Point, score: float | None) -> None:
        """Takes the score of the point that is out."""
        self._scores[point_name(point)] = score
        self._close(score)

    def _close(self, score: float | None) -> None:
        assert self._open is not None
        state = optuna.trial.TrialState.FAIL if score is None else optuna.trial.TrialState.COMPLETE
        self._study.tell(self._open, score, state=state)
        self._open = None


def make_search(space: Space | Points, *, sampler: str, seed: int, trials: int, rising: bool) -> Search:
    """Returns the search of a space.

    Args:
      space: what is searched, checked against the config.
      sampler: "grid", "random", "quasi_random" or "tpe".
      seed: of the sampler.
      trials: how many; of a grid all.
      rising: whether a higher score is better.
    """
    if isinstance(space, Points):
        return Listed(space.points)
    if sampler == "grid":
        return Listed(space.points().points)
    if sampler == "quasi_random":
        known = parameters.distributions(space)
        shares = (quasi_random(known, place, seed=seed) for place in range(trials))
        return Listed([parameters.point_of(space, parameters.from_known(share)) for share in shares])
    search = Guided(space, sampler=sampler, seed=seed, trials=trials, rising=rising)
    if sampler != "random":
        return search
    return Listed(_drawn(search))


def _drawn(search: Guided) -> Sequence[Point]:
    """All points of a sampler that learns nothing."""
    while (point := search.ask()) is not None:
        search.tell(point, None)
    return search.points
