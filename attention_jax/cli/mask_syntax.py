"""Masks as a user types them, "causal & window(256) | global(4)": parsed as Python, never evaluated."""

import ast
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

# `global` is a word of Python's own: while it is parsed it has another spelling, of the same length.
_GLOBAL = "__glob"

Parsed = Callable[[Tokens], Mask]
JOINS: dict[type[ast.operator], Callable[[Mask, Mask], Mask]] = {ast.BitAnd: Mask.__and__, ast.BitOr: Mask.__or__}


def parse_mask(text: str) -> Parsed:
    """Returns what makes the mask that `text` describes for some tokens.

    Raises:
      Refused: it is not a mask: an unknown rule, a rule without its number, a sign too much or too few.
    """
    flat = " ".join(text.split())
    if "#" in flat:
        raise _refusal(text, "expected & or |", "#")
    try:
        return _mask(ast.parse(re.sub(r"\bglobal\b", _GLOBAL, flat), mode="eval").body, flat)
    except SyntaxError as error:
        raise _misspelt(flat, error) from error
    except (ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, Refused):
            raise
        raise Refused(f"mask {text!r} cannot be read: {error}.") from error


def _mask(node: ast.expr, text: str) -> Parsed:
    if isinstance(node, ast.BinOp) and type(node.op) in JOINS:
        join, left, right = JOINS[type(node.op)], _mask(node.left, text), _mask(node.right, text)
        return lambda tokens: join(left(tokens), right(tokens))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _rule(node.func.id, [*node.args, *node.keywords], text)
    if isinstance(node, ast.Name):
        return _rule(node.id, [], text)
    raise _refusal(text, "expected a rule, or rules joined by & and |", ast.get_source_segment(text, node) or "")


def _rule(name: str, given: list[ast.expr | ast.keyword], text: str) -> Parsed:
    name = "global" if name == _GLOBAL else name
    if name not in RULES:
        raise Refused(f"mask {text!r}: there is no rule {name!r}.{did_you_mean(name, RULES)}")
    rule, numbers = RULES[name], [_number(each, text) for each in given]
    if not rule.fewest <= len(numbers) <= rule.most:
        raise Refused(f"mask {text!r}: {name} is given {len(numbers)} numbers; write {rule.form}.")
    return lambda tokens: rule.build(numbers, tokens)


def _number(node: ast.expr | ast.keyword, text: str) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    raise _refusal(text, "expected a whole number", ast.get_source_segment(text, node) or "")


def _misspelt(text: str, error: SyntaxError) -> Refused:
    """Says what Python's parser found, in the words of masks."""
    before = text[: error.offset - 1 if error.offset else None].rstrip()
    word = next(iter(re.findall(r"\w+|[^\w\s]", text[len(before) :])), "")
    if "never closed" in error.msg:
        return _refusal(text, "a ( is not closed", "")
    if "unmatched" in error.msg:
        return _refusal(text, "there is a ) too much", word)
    if "comma" in error.msg:
        return _refusal(text, "expected &, | or a comma behind", word)
    if not error.msg.startswith("invalid syntax"):
        return _refusal(text, error.msg, word)
    if before.endswith(","):
        return _refusal(text, "expected a whole number", word)
    return _refusal(text, "expected & or |" if re.search(r"[\w)]$", before) else "expected a rule", word)


def _refusal(text: str, reason: str, word: str) -> Refused:
    where = f"at {word!r}" if word else "at its end"
    return Refused(f'mask {text!r}: {reason}, {where}. Write rules such as "causal & window(256)".')
