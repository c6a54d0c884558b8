"""Who chooses the next point of a sweep, and who ends a trial early, by name.

What is drawn depends on the seed, the number of the trial and the trials before it, and on nothing that a kill could
lose: each trial draws from a generator of its own.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import optuna
import scipy.stats
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.base.options import AtLeast, check_bounds, check_options
from attention_jax.kernels.specs import parse_spec

SAMPLERS = ("tpe", "random", "grid", "quasi_random")
# Of these all points are known from the start.
LISTED = ("grid", "quasi_random")
NO_PRUNER = "none"


class EachTrialItsOwn(BaseSampler):
    """A sampler made anew for each trial, of a seed that its number decides."""

    def __init__(self, make: Callable[[int], BaseSampler], *, seed: int):
        self._make, self._seed = make, seed
        self._current = make(seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Makes the sampler of this trial."""
        digest = hashlib.sha256(f"{self._seed}/{trial.number}".encode()).digest()
        self._current = self._make(int.from_bytes(digest[:4], "big"))

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Returns what the sampler of this trial draws together."""
        return self._current.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draws what is drawn together."""
        return self._current.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draws one of the others."""
        return self._current.sample_independent(study, trial, param_name, param_distribution)


def make_sampler(name: str, *, seed: int) -> BaseSampler:
    """Returns a sampler by name; the points of `LISTED` ones are put into the study by whoever asks.

    Raises:
      Refused: there is none of that name.
    """
    if name not in SAMPLERS:
        raise Refused(f"there is no sampler {name!r}.{did_you_mean(name, SAMPLERS)}")
    made: Callable[[int], BaseSampler] = RandomSampler
    if name == "tpe":
        # What depends on a choice above it is drawn by itself; all else together.
        made = lambda seed: TPESampler(seed=seed, multivariate=True)  # noqa: E731
    return EachTrialItsOwn(made, seed=seed)


def quasi_random(distributions: Mapping[str, BaseDistribution], number: int, *, seed: int) -> dict[str, Any]:
    """Returns a point of a scrambled Sobol sequence, which fills a space more evenly than chance.

    Args:
      distributions: every one that some trial may draw from, by name.
      number: the place in the sequence, from 0.
      seed: of the scrambling.
    """
    sequence = scipy.stats.qmc.Sobol(d=len(distributions), scramble=True, rng=seed)
    if number:
        sequence.fast_forward(number)
    (shares,) = sequence.random(1)
    return {name: _at(distributions[name], float(share)) for name, share in zip(distributions, shares, strict=True)}


def _at(distribution: BaseDistribution, share: float) -> Any:
    """The value below which a share, 0 to 1, of a distribution lies."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(int(share * len(distribution.choices)), len(distribution.choices) - 1)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if isinstance(distribution, IntDistribution) and distribution.log:
        # Each number has the room of half a one on both sides.
        low, high = low - 0.5, high + 0.5
    if distribution.log:
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    elif step is not None:
        value = low + step * min(int(share * (int((high - low) / step + 1e-9) + 1)), int((high - low) / step + 1e-9))
    else:
        value = low + share * (high - low)
    value = min(max(value, distribution.low), distribution.high)
    return round(value) if isinstance(distribution, IntDistribution) else float(value)


class SuccessiveHalving(optuna.pruners.BasePruner):
    """Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934), of the reported values alone.

    A trial is judged at its first evaluation from `start` steps on, from `start * reduction` on, and so on. It goes on
    if it is among the best 1/reduction of all that came that far. Optuna's own writes its rungs down before it decides,
    so that a kill between the two would let a trial pass.
    """

    def __init__(self, *, start: int, reduction: int = 3):
        self._start, self._reduction = start, reduction

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Returns whether a trial ends at its last reported step."""
        steps = sorted(trial.intermediate_values)
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        rung = self._start
        while steps and rung <= steps[-1]:
            if _first_from(rung, trial) == steps[-1] and self._is_behind(rung, trial, others, study):
                return True
            rung *= self._reduction
        return False

    def _is_behind(self, rung: int, trial: FrozenTrial, others: Sequence[FrozenTrial], study: optuna.Study) -> bool:
        value = trial.intermediate_values[_first_from(rung, trial)]
        if math.isnan(value):
            return True
        there = [other.intermediate_values[step] for other in others if (step := _first_from(rung, other)) is not None]
        count = len(there) + 1
        if count < self._reduction:
            return False
        sign = 1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1
        better = sum(sign * other > sign * value for other in there)
        return better >= count // self._reduction


def _first_from(rung: int, trial: FrozenTrial) -> Any:
    return min((step for step in trial.intermediate_values if step >= rung), default=None)


def _successive_halving(
    *, every: int, reduction: Annotated[int, AtLeast(2)] = 3, start: Annotated[int, AtLeast(0)] = 0
) -> optuna.pruners.BasePruner:
    return SuccessiveHalving(start=start or every, reduction=reduction)


def _median(
    *, every: int, trials: Annotated[int, AtLeast(1)] = 5, start: Annotated[int, AtLeast(0)] = 0
) -> optuna.pruners.BasePruner:
    return optuna.pruners.MedianPruner(n_startup_trials=trials, n_warmup_steps=start)


PRUNERS: dict[str, Callable[..., optuna.pruners.BasePruner]] = {
    "successive_halving": _successive_halving,
    "median": _median,
}


def make_pruner(spec: str, *, every: int) -> optuna.pruners.BasePruner:
    """Returns a pruner by its spec: "none", "successive_halving:reduction=3,start=100", "median:trials=5,start=100".

    Args:
      spec: the name with options.
      every: steps between two evaluations, where a trial can end.

    Raises:
      Refused: the name or an option is wrong, or nothing is evaluated on the way.
    """
    if spec == NO_PRUNER:
        return optuna.pruners.NopPruner()
    name, options = parse_spec(spec)
    if name not in PRUNERS:
        raise Refused(f"there is no pruner {name!r}.{did_you_mean(name, [*PRUNERS, NO_PRUNER])}")
    check_options(PRUNERS[name], {"every": every, **options}, owner=f"pruner {name!r}")
    for option, value in options.items():
        if type(value) is not int:
            raise Refused(f"pruner {name!r}: {option}={value!r}: give a whole number.")
    check_bounds(PRUNERS[name], options, owner=f"pruner {name!r}: ")
    if not every:
        raise Refused(f"pruner {name!r} looks at evaluations, and evaluation.every=0 makes one, at the end: set it.")
    return PRUNERS[name](every=every, **options)
