"""What `launch.py explain` prints: every engine, whether it would be taken, and the reason. Nothing is computed."""

import itertools
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.base.formatting import memory
from attention_jax.cli.mask_syntax import Tokens, parse_mask
from attention_jax.kernels import Candidate, Sizes, attend, explain, init, lookup
from attention_jax.kernels.mask_algebra import describe

# The letters of a shape in the order in which they may be given without them, and what each is when it is left out.
LETTERS = {"B": None, "T": None, "N": None, "H": None, "S": "T", "K": "N", "J": "H", "Hv": "H"}
DTYPES = ("float32", "bfloat16", "float16", "float64")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked: an attention, by what it is given.

    Attributes:
      variant: a spec.
      shape: as `parse_shape` reads it.
      mask: as `parse_mask` reads it, or None.
      dtype: of query, key and value, one of DTYPES.
      outputs: as for `attend`, joined by commas.
      positions: "first" or "last", where the queries stand among the keys; None to give no positions.
      dropout: the rate.
      bias: whether there is a bias.
      score_mod: whether there is a score function.
    """

    variant: str
    shape: str
    mask: str | None = None
    dtype: str = "float32"
    outputs: str = "out"
    positions: str | None = None
    dropout: float = 0.0
    bias: bool = False
    score_mod: bool = False


def parse_shape(text: str) -> dict[str, int]:
    """Returns the size of each of LETTERS, from "1,4096,8,64,K=2": the first four in order, then any by its letter.

    Raises:
      Refused: a size is missing, is given twice or is not a whole number of at least 1.
    """
    sizes: dict[str, int] = {}
    form = f"--shape={text} is not B,T,N,H with others by letter, such as 1,4096,32,128,K=8"
    order = list(LETTERS)
    for at, piece in enumerate(text.split(",")):
        letter, equals, number = (part.strip() for part in piece.partition("="))
        if not equals:
            if len(sizes) != at or at > 3:
                raise Refused(f"{form}: {piece.strip()!r} has no letter.")
            letter, number = order[at], letter
        if letter not in LETTERS:
            raise Refused(f"{form}: there is no size {letter!r}.{did_you_mean(letter, LETTERS)}")
        if letter in sizes:
            raise Refused(f"{form}: {letter} is given twice.")
        if not number.isdecimal() or int(number) < 1:
            raise Refused(f"{form}: {letter} is {number!r}, not a whole number of at least 1.")
        sizes[letter] = int(number)
    for letter, same_as in LETTERS.items():
        if letter not in sizes and same_as is None:
            raise Refused(f"{form}: {letter} is missing.")
        sizes.setdefault(letter, sizes[same_as or letter])
    return {letter: sizes[letter] for letter in LETTERS}


def print_explanation(question: Question, *, with_memory: bool) -> None:
    """Prints what is asked, and each engine with its reason.

    Args:
      question: what is asked.
      with_memory: whether to compile forward and backward, and print the memory that the program needs.

    Raises:
      Refused: the question cannot be read, or the variant does not take what it is given.
    """
    if question.dtype not in DTYPES:
        raise Refused(f"there is no dtype {question.dtype!r} here.{did_you_mean(question.dtype, DTYPES)}")
    if question.positions not in (None, "first", "last"):
        raise Refused(f"--positions={question.positions} is neither first nor last.")
    sizes = parse_shape(question.shape)
    with jax.enable_x64(True) if question.dtype == "float64" else nullcontext():
        shapes = _shapes(question, sizes)
        candidates, mask = _candidates(question, sizes, shapes)
        _print_head(question, sizes, mask)
        _print_tables(candidates)
        if with_memory and any(candidate.taken for candidate in candidates):
            print(f"\nbeside its arrays, forward and backward need {memory(_temporary_bytes(question, sizes, shapes))}")


def _shapes(question: Question, sizes: dict[str, int]) -> dict[str, Any]:
    """The arrays as shapes, so that nothing is allocated however long they are."""
    batch, queries, heads, width, keys, kv_heads, key_width, value_width = sizes.values()
    dtype, mechanism = jnp.dtype(question.dtype), lookup(question.variant).mechanism
    of_heads = Sizes(heads, kv_heads, width, key_width, value_width, length=max(queries, keys))
    trained, drawn = jax.eval_shape(lambda: init(question.variant, jax.random.key(0), of_heads))
    return {
        "query": jax.ShapeDtypeStruct((batch, queries, heads, width), dtype),
        "key": jax.ShapeDtypeStruct((batch, keys, kv_heads, key_width), dtype),
        "value": jax.ShapeDtypeStruct((batch, keys, kv_heads, value_width), dtype),
        "params": {**trained, **drawn},
        "per_token": {
            name: jax.ShapeDtypeStruct(one.shape(of_heads, batch=batch, queries=queries, keys=keys), dtype)
            for name, one in mechanism.per_token.items()
        },
        "bias": jax.ShapeDtypeStruct((heads, queries, keys), jnp.float32) if question.bias else None,
    }


def _call(question: Question, sizes: dict[str, int], function: Callable[..., Any]) -> Callable[[dict[str, Any]], Any]:
    """Returns `function`, which is `attend` or `explain`, of the arrays that `_shapes` describes."""
    read = parse_mask(question.mask) if question.mask else None
    tokens = Tokens(sizes["B"], sizes["T"], sizes["S"])

    def call(given: dict[str, Any]) -> Any:
        arrays = {name: array for name, array in given.items() if array is not None}
        first = tokens.keys - tokens.queries if question.positions == "last" else 0
        ends = ((first, first + tokens.queries), (0, tokens.keys))
        positions = tuple(np.arange(*end, dtype=np.int32)[None] for end in ends)
        return function(
            **arrays,
            variant=question.variant,
            mask=read(tokens) if read else None,
            positions=positions if question.positions else None,
            score_mod=(lambda score, b, h, q, k: score + 0) if question.score_mod else None,
            rng=jax.random.key(0) if question.dropout else None,
            dropout_rate=question.dropout,
            outputs=tuple(part.strip() for part in question.outputs.split(",")),
        )

    return call


def _candidates(question: Question, sizes: dict[str, int], shapes: dict[str, Any]) -> tuple[list[Candidate], str]:
    seen: list[Any] = []

    def look(**arguments: Any) -> None:
        seen.extend((explain(**arguments), describe(arguments["mask"])))

    jax.eval_shape(_call(question, sizes, look), shapes)
    return seen[0], seen[1]


def _temporary_bytes(question: Question, sizes: dict[str, int], shapes: dict[str, Any]) -> int:
    call = _call(question, sizes, attend)
    tokens = {name: shapes[name] for name in ("query", "key", "value")}
    others = {name: shape for name, shape in shapes.items() if name not in tokens}
    weighing = jax.eval_shape(call, shapes).out

    def both(tokens: dict[str, Any], others: dict[str, Any], weighing: Any) -> Any:
        out, pullback = jax.vjp(lambda tokens: call({**tokens, **others}).out, tokens)
        return out, pullback(weighing)

    needed = jax.jit(both).lower(tokens, others, weighing).compile().memory_analysis()
    if needed is None:
        raise Refused(f"--memory: XLA for {jax.default_backend()} does not say what a program needs.")
    return needed.temp_size_in_bytes


def _print_head(question: Question, sizes: dict[str, int], mask: str) -> None:
    batch, queries, heads, width, keys, kv_heads, key_width, value_width = sizes.values()
    mask = f"mask {question.mask}, which is {mask}" if question.mask else mask
    print(f"{question.variant} on {jax.default_backend()}, {question.dtype}, {mask}")
    print(f"query [{batch}, {queries}, {heads}, {width}]  key [{batch}, {keys}, {kv_heads}, {key_width}]  "
          f"value [{batch}, {keys}, {kv_heads}, {value_width}]\n")  # fmt: skip


def _print_tables(candidates: list[Candidate]) -> None:
    """Prints what each engine would do; of a composition, for each of its parts, in the order they are solved in."""
    parts = [list(of_part) for _, of_part in itertools.groupby(candidates, key=lambda one: one.problem)]
    for of_part in parts:
        if len(parts) > 1:
            print(f"{of_part[0].problem}:")
        _print_table(of_part)


def _print_table(candidates: list[Candidate]) -> None:
    table = Table("engine", "taken", "can", "reason", box=None, header_style="bold", pad_edge=False)
    for candidate in candidates:
        taken, can = ("yes" if said else "no" for said in (candidate.taken, candidate.qualified))
        table.add_row(candidate.engine, taken, can, Text(candidate.reason))
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)
    if not any(candidate.taken for candidate in candidates):
        print("\nno engine can: attend refuses, with these reasons.")
