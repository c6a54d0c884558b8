"""The values that one key may take: a range, a list, or a list of variants whose options are searched too."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attention_jax.base.errors import Refused, did_you_mean

_FORMS = "log(LOW,HIGH), uniform(LOW,HIGH), int(LOW,HIGH), int(LOW,HIGH,log), either with step=S, or a list [A,B]"


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both among them.

    Attributes:
      low, high: its ends.
      whole: whether they are whole numbers.
      log: whether each factor is as likely as any other, and not each difference.
      step: between two neighbours; None is every number.

    Raises:
      Refused: it is reversed or empty, or its ends cannot be what they should.
    """

    low: float
    high: float
    whole: bool = False
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            what = "is empty" if self.low == self.high else "is reversed"
            raise Refused(f"{self} {what}: give the lower end first, and a higher one.")
        if self.log and self.low <= 0:
            raise Refused(f"{self}: there is no logarithm of {self.low}: give a lower end above 0.")
        if self.step is not None and (self.log or not 0 < self.step <= self.high - self.low):
            why = "a logarithmic range has no step" if self.log else f"a step is above 0 and at most {self._width:g}"
            raise Refused(f"{self}: {why}.")
        ends = (self.low, self.high, 1 if self.step is None else self.step)
        if self.whole and not all(isinstance(end, int) for end in ends):
            raise Refused(f"{self}: int takes whole numbers.")

    @property
    def _width(self) -> float:
        return self.high - self.low

    def __str__(self) -> str:
        name = "int" if self.whole else "log" if self.log else "uniform"
        rest = [*(["log"] if self.log and self.whole else []), *([] if self.step is None else [f"step={self.step!r}"])]
        return f"{name}({','.join([repr(self.low), repr(self.high), *rest])})"

    def listed(self) -> list[float]:
        """Returns every number of it.

        Raises:
          Refused: there is no end of them.
        """
        step = 1 if self.whole and not self.log and self.step is None else self.step
        if step is None:
            raise Refused(f"{self} is no list, which a grid needs: give [A,B,C], or a step.")
        # Counted, since sums of steps such as 0.1 miss the last one.
        count = int(self._width / step + 1e-9) + 1
        return [self.low + place * step for place in range(count)]


@dataclass(frozen=True)
class Options:
    """An attention variant some of whose options are searched: "performer:features=int(16,128),seed=1".

    Attributes:
      name: the variant.
      options: each option, with its range, its list, or the text of its one value.
    """

    name: str
    options: tuple[tuple[str, "Range | Choice | str"], ...]

    def __str__(self) -> str:
        return f"{self.name}:{','.join(f'{key}={value}' for key, value in self.options)}"

    def searched(self) -> dict[str, "Range | Choice"]:
        """Returns the options that have more than one value."""
        return {key: value for key, value in self.options if not isinstance(value, str)}

    def spec(self, chosen: Mapping[str, Any]) -> str:
        """Returns the spec of the variant with a value for each searched option."""
        return f"{self.name}:{','.join(f'{key}={chosen.get(key, value)}' for key, value in self.options)}"

    def listed(self) -> list[str]:
        """Returns every spec; raises as `Range.listed`."""
        searched = self.searched()
        values = (domain.listed() for domain in searched.values())
        return [self.spec(dict(zip(searched, chosen, strict=True))) for chosen in itertools.product(*values)]


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Attributes:
      values: plain values, or `Options`.

    Raises:
      Refused: there is none, or one stands there twice.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise Refused("[] is an empty list: give the values, such as [A,B].")
        labels = [f"{value.name!r} with ranges" if isinstance(value, Options) else repr(value) for value in self.values]
        for label in labels:
            if labels.count(label) > 1:
                raise Refused(f"{self} has {label} twice: name it once.")

    def __str__(self) -> str:
        return f"[{','.join(map(str, self.values))}]"

    def listed(self) -> list[Any]:
        """Returns every value; raises as `Range.listed`."""
        nested = (value.listed() if isinstance(value, Options) else [value] for value in self.values)
        return list(itertools.chain(*nested))


Domain = Range | Choice


def read_domain(key: str, given: Any) -> Domain:
    """Returns the range or the list of a key.

    Raises:
      Refused: it is none; the message names the key.
    """
    try:
        if isinstance(given, Range | Choice):
            return given
        if isinstance(given, list | tuple):
            return Choice(tuple(_element(value) if isinstance(value, str) else value for value in given))
        return _domain(str(given).strip())
    except Refused as refusal:
        raise Refused(f"space {key}: {refusal}") from None


def _domain(text: str) -> Domain:
    if text.startswith("[") and text.endswith("]"):
        # An option goes on with its variant: [linear,performer:features=64,seed=1] has two values.
        pieces: list[str] = []
        for piece in map(str.strip, split(text[1:-1], ",")):
            if pieces and re.match(r"\w+=", piece) and ":" in pieces[-1]:
                pieces[-1] += f",{piece}"
            else:
                pieces.append(piece)
        return Choice(tuple(map(_element, pieces)))
    called = re.fullmatch(r"(\w+)\((.*)\)", text)
    if called is None:
        raise Refused(f"{text!r} is no range and no list: give {_FORMS}; one value is set by --config.KEY=VALUE.")
    return _range(called[1], [word.strip() for word in called[2].split(",")], text)


def _range(name: str, words: Sequence[str], text: str) -> Range:
    if name not in ("log", "uniform", "int"):
        raise Refused(f"there is no range {name!r}.{did_you_mean(name, ('log', 'uniform', 'int'))}")
    numbers, rest = words[:2], list(words[2:])
    log = name == "log" or (name == "int" and "log" in rest)
    steps = [word.removeprefix("step=") for word in rest if word != "log" or name != "int"]
    if len(numbers) != 2 or len(steps) > 1:
        raise Refused(f"{text!r} is not of a form that there is: give {_FORMS}.")
    low, high, *step = (_number(word, whole=name == "int", text=text) for word in [*numbers, *steps])
    return Range(low, high, whole=name == "int", log=log, step=step[0] if step else None)


def _number(word: str, *, whole: bool, text: str) -> float:
    try:
        number = int(word) if whole else float(word)
    except ValueError:
        raise Refused(f"{text!r}: {word!r} is not a {'whole number' if whole else 'number'}.") from None
    if not abs(number) < float("inf"):
        raise Refused(f"{text!r}: {word!r} is not a finite number.")
    return number


def _element(text: str) -> Any:
    """Returns a value of a list: its text, or the variant whose options are searched."""
    name, colon, given = text.partition(":") if ".py:" not in text else _file_variant(text)
    pieces = split(given, ",") if colon else []
    if not any(re.fullmatch(r"\w+=(\w+\(.*\)|\[.*\])", piece.strip()) for piece in pieces):
        return text
    options: list[tuple[str, Range | Choice | str]] = []
    for piece in map(str.strip, pieces):
        key, _, value = piece.partition("=")
        options.append((key, _domain(value) if value.endswith((")", "]")) else value))
    return Options(name, tuple(options))


def _file_variant(text: str) -> tuple[str, str, str]:
    path, _, rest = text.partition(".py:")
    name, colon, given = rest.partition(":")
    return f"{path}.py:{name}", colon, given


def split(text: str, at: str) -> list[str]:
    """Splits a text at characters that stand outside all brackets; empty pieces are left out."""
    pieces, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character in at and depth <= 0:
            pieces.append("")
        else:
            pieces[-1] += character
    if depth != 0:
        raise Refused(f"space: {text!r} has a bracket that is not closed, or one too many.")
    return [piece for piece in pieces if piece.strip()]
