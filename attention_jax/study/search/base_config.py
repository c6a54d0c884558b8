"""The experiment that a sweep varies: its config file, read once, with keys set; the check of a space against it."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ml_collections import ConfigDict

from attention_jax import tasks
from attention_jax.base.errors import Refused
from attention_jax.layers.mixer import claims_of
from attention_jax.study.search.domains import Choice, Domain, Options, Range
from attention_jax.study.search.space import Points, Space
from attention_jax.training import config
from attention_jax.training.optimizer import optimizers
from attention_jax.training.schedule import schedules

# Who knows the names of what a section builds, so that a word that is none is refused before the first trial.
_NAMES = {
    **{f"{section}.name": catalogue.lookup for section, catalogue in config.NAMED.items()},
    "optimizer.name": optimizers.lookup,
    "optimizer.schedule.name": schedules.lookup,
}


@dataclass(frozen=True)
class Base:
    """A config file that was read once: editing it while a sweep runs changes no trial.

    Attributes:
      raw: what the file gives, without its keys `space` and `sweep`.
      overrides: keys that the command sets, by dotted key.
      owner: how a message names the file.
    """

    raw: ConfigDict
    overrides: Mapping[str, str]
    owner: str

    def config(self, point: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Returns the whole config, with the keys of a point set.

        Raises:
          Refused: a key or a value is wrong, or the keys of the point do not go together.
        """
        return config.plain(self._finished({key: text_of(value) for key, value in (point or {}).items()}))

    def check(self, space: Space | Points) -> Space | Points:
        """Returns the space with its texts as values of their keys.

        Raises:
          Refused: a key is not of the config, or a range or a value is not of the kind that its key takes. Values that
            the experiment refuses for another reason are left: they are trials that say so.
        """
        full = self._finished({})
        for key in space.domains if isinstance(space, Space) else space.keys:
            if key in self.overrides:
                raise Refused(f"{key} is in the space and set by --config.{key}: leave out one.")
            if key == "seed":
                raise Refused("seed is not searched: the best trials run again on fresh seeds.")
        if isinstance(space, Points):
            points = ({key: _value(full, key, value, self.owner) for key, value in p.items()} for p in space.points)
            return Points(tuple(points))
        return Space({key: _domain(full, key, domain, self.owner) for key, domain in space.domains.items()})

    @cached_property
    def task(self) -> tasks.Task:
        """The task that is learned, whose metric decides."""
        section = dict(self.config()["task"])
        return tasks.build(section.pop("name"), **section)

    def _finished(self, point: Mapping[str, str]) -> ConfigDict:
        return config.finish(copy.deepcopy(self.raw), {**self.overrides, **point}, owner=self.owner)


def _domain(full: ConfigDict, key: str, domain: Domain, owner: str) -> Domain:
    section, last = config.locate(full, key, owner=owner)
    kind = section.get_type(last)
    if isinstance(domain, Choice):
        try:
            return Choice(tuple(_value(full, key, value, owner) for value in domain.values))
        except Refused as refusal:
            # Two texts of one value, such as 1e-3 and 0.001.
            raise Refused(f"{'' if str(refusal).startswith('space') else f'space {key}: '}{refusal}") from None
    if kind is int and not domain.whole:
        raise Refused(f"space {key}={domain}: it takes int: give int(LOW,HIGH), or a list.")
    if kind not in (int, float, type(None)):
        raise Refused(f"space {key}={domain}: it takes {kind.__name__}: give a list, such as [{section[last]}].")
    return domain


def _value(full: ConfigDict, key: str, value: Any, owner: str) -> Any:
    """Returns one value of a list as its key takes it; a text that comes from a command is not yet one."""
    section, last = config.locate(full, key, owner=owner)
    kind = section.get_type(last)
    if isinstance(value, Options) and last != "attention":
        raise Refused(f"space {key}: {value} is an attention variant, and {key} takes {kind.__name__}.")
    if last == "attention":
        _check_variant(value, key)
        return value
    try:
        found = config.parsed(value, kind) if isinstance(value, str) else value
        if kind is str and found is not None and not isinstance(found, str):
            raise TypeError
        trial = copy.deepcopy(section)
        trial[last] = found
    except (TypeError, ValueError):
        raise Refused(f"space {key}: {value} is not {kind.__name__}, which it takes.") from None
    if key in _NAMES:
        _NAMES[key](found)
    return trial[last]


def _check_variant(value: Any, key: str) -> None:
    """Looks up a variant or a mixer, and one with searched options at both ends of each of their ranges."""
    if not isinstance(value, Options):
        claims_of(value)
        return
    for end in (0, -1):
        chosen = {}
        for option, domain in value.searched().items():
            if isinstance(domain, Range):
                chosen[option] = (domain.low, domain.high)[end]
            elif any(isinstance(nested, Options) for nested in domain.values):
                raise Refused(f"space {key}: {value}: an option takes a range or a list of values, no variants.")
            else:
                chosen[option] = domain.values[end]
        claims_of(value.spec(chosen))


def text_of(value: Any) -> str:
    """Returns a value as --config.KEY=TEXT takes it."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else repr(value)
