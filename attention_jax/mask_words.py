"""Masks as a user types them, "causal & window(256) | global(4)": read by hand, never evaluated.

rules = both {"|" both}     both = rule {"&" rule}     rule = "(" rules ")" | name ["(" [number {"," number}] ")"]
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.kernels import Blocks, Causal, Dense, Global, Mask, Padding, PrefixLM, Segments, Window


@dataclass(frozen=True)
class Tokens:
    """What a mask is for.

    Attributes:
      batch: B, sequences.
      queries: T.
      keys: S.
    """

    batch: int
    queries: int
    keys: int


@dataclass(frozen=True)
class Rule:
    """A rule by name.

    Attributes:
      form: how it is written.
      fewest: how many numbers it takes at least.
      most: and at most.
      build: makes the mask of its numbers.
    """

    form: str
    fewest: int
    most: float
    build: Callable[[list[int], Tokens], Mask]


def _segments(numbers: list[int], tokens: Tokens) -> Mask:
    return Segments(*(jnp.zeros((tokens.batch, length), jnp.int32) for length in (tokens.queries, tokens.keys)))


def _blocks(numbers: list[int], tokens: Tokens) -> Mask:
    sizes = numbers[0], numbers[-1]
    counts = (-(-length // max(size, 1)) for length, size in zip((tokens.queries, tokens.keys), sizes, strict=True))
    return Blocks(jnp.ones((1, 1, *counts), bool), *sizes)


RULES = {
    "causal": Rule("causal", 0, 0, lambda numbers, tokens: Causal()),
    "window": Rule("window(size)", 1, 1, lambda numbers, tokens: Window(numbers[0])),
    "global": Rule("global(count)", 1, 1, lambda numbers, tokens: Global(numbers[0])),
    "prefix_lm": Rule(
        "prefix_lm(length) or a length for each sequence", 1, float("inf"),
        lambda numbers, tokens: PrefixLM(jnp.asarray(numbers)),
    ),
    "padding": Rule(
        "padding(length) or a length for each sequence", 1, float("inf"),
        lambda numbers, tokens: Padding(jnp.asarray(numbers)),
    ),
    "segments": Rule("segments", 0, 0, _segments),
    "blocks": Rule("blocks(size), or of queries and of keys", 1, 2, _blocks),
    "dense": Rule("dense", 0, 0, lambda numbers, tokens: Dense(jnp.ones((tokens.queries, tokens.keys), bool))),
}  # fmt: skip

Parsed = Callable[[Tokens], Mask]


def parse_mask(text: str) -> Parsed:
    """Returns what makes the mask that `text` describes for some tokens.

    Raises:
      Refused: it is not a mask: an unknown rule, a rule without its number, a sign too much or too few.
    """
    reader = _Reader(text)
    mask = reader.rules()
    if reader.word:
        raise reader.refusal("expected & or |" if reader.word != ")" else "there is a ) too much")
    return mask


class _Reader:
    """Reads from left to right; `word` is the next name, number or sign, "" at the end."""

    def __init__(self, text: str):
        self._text = text
        self._words = re.findall(r"\w+|[^\w\s]", text)
        self._at = 0

    @property
    def word(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def refusal(self, reason: str) -> Refused:
        where = f"at {self.word!r}" if self.word else "at its end"
        return Refused(f'mask {self._text!r}: {reason}, {where}. Write rules such as "causal & window(256)".')

    def take(self) -> str:
        taken = self.word
        self._at += 1
        return taken

    def rules(self) -> Parsed:
        terms = [self.both()]
        while self.word == "|":
            self.take()
            terms.append(self.both())
        return terms[0] if len(terms) == 1 else lambda tokens: _joined(terms, Mask.__or__, tokens)

    def both(self) -> Parsed:
        terms = [self.rule()]
        while self.word == "&":
            self.take()
            terms.append(self.rule())
        return terms[0] if len(terms) == 1 else lambda tokens: _joined(terms, Mask.__and__, tokens)

    def rule(self) -> Parsed:
        if self.word == "(":
            self.take()
            inner = self.rules()
            if self.word != ")":
                raise self.refusal("a ( is not closed")
            self.take()
            return inner
        if not self.word.isidentifier():
            raise self.refusal("expected a rule")
        if self.word not in RULES:
            raise Refused(f"mask {self._text!r}: there is no rule {self.word!r}.{did_you_mean(self.word, RULES)}")
        name = self.take()
        rule, numbers = RULES[name], self.numbers()
        if not rule.fewest <= len(numbers) <= rule.most:
            raise Refused(f"mask {self._text!r}: {name} is given {len(numbers)} numbers; write {rule.form}.")
        return lambda tokens: rule.build(numbers, tokens)

    def numbers(self) -> list[int]:
        found: list[int] = []
        if self.word != "(":
            return found
        self.take()
        while self.word != ")":
            if not self.word.isdecimal():
                raise self.refusal("expected a whole number")
            found.append(int(self.take()))
            if self.word not in (",", ")"):
                raise self.refusal("expected , or )")
            if self.word == ",":
                self.take()
        self.take()
        return found


def _joined(terms: list[Parsed], join: Callable[[Mask, Mask], Mask], tokens: Tokens) -> Mask:
    mask, *others = (term(tokens) for term in terms)
    for other in others:
        mask = join(mask, other)
    return mask
