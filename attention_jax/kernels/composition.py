"""Mechanisms made of others: one that joins several attentions, or attends with other arrays than it was given."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from attention_jax.kernels.mask_algebra import Mask
from attention_jax.kernels.mechanism import Mechanism
from attention_jax.kernels.problem import AttentionOutput, Problem

Solve = Callable[[Problem], AttentionOutput]


@dataclass(frozen=True, kw_only=True)
class Composition(Mechanism):
    """Whatever `run` makes of the solutions of its parts.

    Attributes:
      run: (problem, solve) -> the output. `problem` has the caller's arrays, as they are; `solve` computes a part, made
        by `part`, with the engine that fits it. A key that a query does not see must not touch its result: what goes
        over several tokens at once leaves out those that `problem.given.real` does not keep.
    """

    usual: ClassVar[dict[str, bool]] = {**Mechanism.usual, "convex": False}

    run: Callable[[Problem, Solve], AttentionOutput]


def part(problem: Problem, mechanism: Mechanism, *, name: str, **changes: Any) -> Problem:
    """Returns a part of a composition's problem: another mechanism, on the same arrays or on those in `changes`.

    Args:
      problem: the whole.
      mechanism: of the part; a rule of its own is not added to the mask.
      name: what the part is, for `explain` and for refusals.
      **changes: fields of `Problem`. The part asks for `out` alone, and has the arrays of the whole.
    """
    variant = replace(problem.variant, spec=f"{problem.variant.spec} ({name})", mechanism=mechanism)
    return replace(problem, **{"variant": variant, "outputs": ("out",), **changes})


def on_other_tokens(
    problem: Problem,
    mechanism: Mechanism,
    *,
    name: str,
    query: Array,
    key: Array,
    value: Array,
    mask: Mask | None = None,
    **changes: Any,
) -> Problem:
    """Returns a part whose tokens are others than the caller's: pooled, gathered or folded into sequences of their own.

    All that went by the caller's tokens is gone: mask, bias, score function, positions, inputs and grid. What of it
    such a part needs, it says in `mask` and `changes`; of what dropout hides, each part draws its own.

    Args:
      problem: the whole.
      mechanism: of the part.
      name: what the part is, for `explain` and for refusals.
      query: [b, t, n, H].
      key: [b, s, k, J].
      value: [b, s, k, Hv].
      mask: who sees whom of these tokens.
      **changes: other fields of `Problem`.
    """
    rng = None if problem.rng is None else jax.random.fold_in(problem.rng, zlib.crc32(name.encode()))
    gone: dict[str, Any] = {"bias": None, "score_mod": None, "captures": (), "inputs": {}, "positions": None}
    gone |= {"share": None, "grid": None, "rng": rng}
    tokens = {"query": query, "key": key, "value": value, "mask": mask}
    return part(problem, mechanism, name=name, **{**gone, **tokens, **changes})


def past_nan(combine: Callable[..., Array], *rows: Array) -> Array:
    """Returns `combine` of the rows of several parts, and NaN for the rows of which one holds NaN.

    NaN is taken out before and put back after: multiplied by a cotangent of 0 it would reach the gradients of what
    `combine` reads beside the rows.

    Args:
      combine: (rows ...) -> rows, each by itself.
      *rows: each [..., width].
    """
    poisoned = jnp.stack([jnp.isnan(one).any(-1, keepdims=True) for one in rows]).any(0)
    return jnp.where(poisoned, jnp.nan, combine(*(jnp.where(poisoned, 0, one) for one in rows)))
