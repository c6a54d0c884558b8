"""What a sweep searches: the range or the list of each key, read from text or from a config file.

    model.width=[64,96] model.num_layers=int(2,6) model.attention=[linear,performer:features=int(8,64)]

The options of a variant may have ranges of their own; they are searched only where the variant is chosen.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.study.search.domains import Domain, read_domain, split

Point = dict[str, Any]


@dataclass(frozen=True)
class Space:
    """What each key is drawn from, by dotted key."""

    domains: Mapping[str, Domain]

    def __str__(self) -> str:
        return " ".join(f"{key}={domain}" for key, domain in self.domains.items())

    def points(self) -> "Points":
        """Returns every combination, for a grid; raises as `Range.listed`."""
        return product(self.domains)


@dataclass(frozen=True)
class Points:
    """A list of points, each the values of some keys, none twice: what `product`, `zip_` and `chain` make."""

    points: tuple[Point, ...]

    def __str__(self) -> str:
        return f"a list of {len(self.points)} points of {', '.join(self.keys)}"

    @property
    def keys(self) -> list[str]:
        """The keys that some point has, in the order in which they come."""
        return list(dict.fromkeys(key for point in self.points for key in point))


def product(*parts: Mapping[str, Any] | Points) -> Points:
    """Returns every combination of the lists of keys, and of points made before.

    Raises:
      Refused: something is no list.
    """
    lists = [
        part.points if isinstance(part, Points) else [dict(chosen) for chosen in itertools.product(*_pairs(part))]
        for part in parts
    ]
    return _distinct(
        {key: value for part in chosen for key, value in part.items()} for chosen in itertools.product(*lists)
    )


def zip_(part: Mapping[str, Any]) -> Points:
    """Returns the first value of every list together, the second ones together, and so on.

    Raises:
      Refused: something is no list, or the lists differ in length.
    """
    pairs = _pairs(part)
    if len({len(values) for values in pairs}) > 1:
        said = ", ".join(f"{values[0][0]} has {len(values)}" for values in pairs)
        raise Refused(f"zip_ takes lists of one length, and {said}.")
    return _distinct(dict(chosen) for chosen in zip(*pairs, strict=True))


def chain(*parts: Points) -> Points:
    """Returns the points of one list after those of another."""
    return _distinct(point for part in parts for point in part.points)


def read_space(given: Any) -> Space | Points:
    """Returns the space that a text, the key `space` of a config file, or one made before is.

    Args:
      given: text such as the module's; a dict of dotted keys or of sections, whose leaves are texts, lists or ranges;
        or what `product`, `zip_` and `chain` return.

    Raises:
      Refused: it is none, or names a key twice.
    """
    if isinstance(given, str):
        made: Space | Points = _space([_pair(word) for word in split(given, " \t\n")])
    elif isinstance(given, Mapping | ConfigDict):
        made = _space([(key, read_domain(key, value)) for key, value in leaves(given)])
    elif isinstance(given, Space | Points):
        made = given
    else:
        raise Refused(f"space={given!r}: give text such as model.width=[64,128], or a dict of keys.")
    if not (made.domains if isinstance(made, Space) else made.points):
        raise Refused("the space is empty: give it a key, such as optimizer.learning_rate=log(1e-4,1e-2).")
    return made


def _space(pairs: list[tuple[str, Domain]]) -> Space:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise Refused(f"the space has {key} twice: name it once.")
    return Space(dict(pairs))


def _pair(word: str) -> tuple[str, Domain]:
    key, equals, text = word.partition("=")
    if not equals or not re.fullmatch(r"\w+(\.\w+)*", key):
        raise Refused(f"space: {word!r} is not of the form KEY=RANGE or KEY=[A,B], such as model.width=[64,128].")
    return key, read_domain(key, text)


def leaves(part: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields each value in nested sections with its dotted key."""
    for key in part:
        value = part[key]
        if isinstance(value, Mapping | ConfigDict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _pairs(part: Mapping[str, Any]) -> list[list[tuple[str, Any]]]:
    """Returns, for each key, the key with each of its values."""
    pairs = []
    for key, given in part.items():
        domain = read_domain(key, given)
        try:
            pairs.append([(key, value) for value in domain.listed()])
        except Refused as refusal:
            raise Refused(f"space {key}: {refusal}") from None
    return pairs


def _distinct(points: Iterable[Point]) -> Points:
    """Each point once, whatever made it: nothing is gained by training it again."""
    kept: dict[str, Point] = {}
    for point in points:
        kept.setdefault(repr(sorted(point.items())), point)
    return Points(tuple(kept.values()))


def described(point: Mapping[str, Any]) -> str:
    """Returns a point in a few words, each key by its last part."""
    words = {key.rpartition(".")[2]: value for key, value in point.items()}
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in words.items()
    )
