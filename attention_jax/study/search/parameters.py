"""A space as Optuna's parameters: their names, their distributions, and the point that a trial's parameters are.

A parameter is called by its key; the option of a variant by both, such as "model.attention=performer:features".
"""

from collections.abc import Callable, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from attention_jax.study.search.domains import Domain, Options, Range
from attention_jax.study.search.space import Point, Points, Space

Choose = Callable[[str, BaseDistribution], Any]


def distributions(space: Space | Points) -> dict[str, BaseDistribution]:
    """Returns every parameter that a trial may have, by name."""
    if isinstance(space, Points):
        values = {key: [point[key] for point in space.points if key in point] for key in space.keys}
        return {key: CategoricalDistribution(list(dict.fromkeys(map(label, found)))) for key, found in values.items()}
    found: dict[str, BaseDistribution] = {}
    for key, domain in space.domains.items():
        found[key] = _distribution(domain)
        for value in () if isinstance(domain, Range) else domain.values:
            if isinstance(value, Options):
                nested = value.searched()
                found |= {_option(key, value, name): _distribution(domain) for name, domain in nested.items()}
    return found


def point_of(space: Space, choose: Choose) -> Point:
    """Returns the point of parameters, which are asked for by name and distribution in the order of the space.

    Args:
      space: where they are from.
      choose: returns the parameter.

    Raises:
      KeyError: `choose` knows no such parameter.
    """
    known = distributions(space)
    found = {}
    for key, domain in space.domains.items():
        chosen = choose(key, known[key])
        if not isinstance(domain, Range):
            chosen = next(value for value in domain.values if label(value) == chosen)
        if isinstance(chosen, Options):
            names = {name: _option(key, chosen, name) for name in chosen.searched()}
            chosen = chosen.spec({name: choose(full, known[full]) for name, full in names.items()})
        found[key] = chosen
    return found


def from_trial(trial: Trial) -> Choose:
    """Returns what has Optuna choose, or say again what it chose."""

    def choose(name: str, distribution: BaseDistribution) -> Any:
        if isinstance(distribution, CategoricalDistribution):
            return trial.suggest_categorical(name, distribution.choices)
        if isinstance(distribution, IntDistribution):
            return trial.suggest_int(
                name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
            )
        assert isinstance(distribution, FloatDistribution)
        return trial.suggest_float(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )

    return choose


def from_known(parameters: Mapping[str, Any]) -> Choose:
    """Returns what looks a parameter up among those of a finished trial."""
    return lambda name, _: parameters[name]


def labels(point: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters of a point of a list."""
    return {key: label(value) for key, value in point.items()}


def label(value: Any) -> Any:
    """Returns how Optuna's database names a value of a list: itself where it can hold it, else its text."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _distribution(domain: Domain) -> BaseDistribution:
    if not isinstance(domain, Range):
        return CategoricalDistribution([label(value) for value in domain.values])
    if domain.whole:
        step = 1 if domain.step is None else int(domain.step)
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=step)
    return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)


def _option(key: str, variant: Options, option: str) -> str:
    return f"{key}={variant.name}:{option}"
