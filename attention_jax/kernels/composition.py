"""Mechanisms made of others: one that joins several attentions, or attends with other arrays than it was given."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from attention_jax.kernels.engines.poison import finite, poisoned_rows
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
      encoded: (score -> the same with positions in its logits) -> the composition of that one; None where its logits
        are not of pairs of the caller's tokens, and it takes no position encoding.
    """

    usual: ClassVar[dict[str, Any]] = {**Mechanism.usual, "convex": False}

    run: Callable[[Problem, Solve], AttentionOutput]
    encoded: Callable[[Callable[[Any], Any]], "Composition"] | None = None


def around(mechanism: Mechanism, run: Callable[[Problem, Solve], AttentionOutput], **more: Any) -> Composition:
    """Returns a composition about one mechanism, with the arrays, per_token and rules that it declares.

    Args:
      mechanism: that its parts are solved by.
      run: as of `Composition`.
      **more: other fields of `Composition`.
    """
    return Composition(run=run, **{field.name: getattr(mechanism, field.name) for field in fields(Mechanism)}, **more)


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

    All that went by the caller's tokens is gone: mask, bias, score function, positions, per_token and grid. What of
    it such a part needs, it says in `mask` and `changes`; of what dropout hides, each part draws its own. Of the
    arrays of the whole it has those that its mechanism declares, since its heads may be others too.

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
    gone: dict[str, Any] = {"bias": None, "score_mod": None, "captures": (), "per_token": {}, "positions": None}
    gone |= {"share": None, "grid": None, "rng": rng}
    gone["params"] = {array: problem.params[array] for array in mechanism.arrays}
    tokens = {"query": query, "key": key, "value": value, "mask": mask}
    return part(problem, mechanism, name=name, **{**gone, **tokens, **changes})


def past_nan(run: Callable[[Problem, Solve], AttentionOutput]) -> Callable[[Problem, Solve], AttentionOutput]:
    """Returns a `run` that has 0 in the place of what is not finite, and then NaN for the queries that see such.

    For what a composition does beside its parts: NaN multiplied by a cotangent of 0 would reach the gradients of rows
    that do not see it, and a sum over tokens would spread it to all.
    """

    def on_finite(problem: Problem, solve: Solve) -> AttentionOutput:
        query, key, value = finite(problem.query), finite(problem.key), finite(problem.value)
        per_token = {name: finite(array) for name, array in problem.per_token.items()}
        result = run(replace(problem, query=query, key=key, value=value, per_token=per_token), solve)
        poisoned, weights = poisoned_rows(problem), result.weights
        lse = result.lse if "lse" in problem.outputs else None
        return replace(
            result,
            out=jnp.where(poisoned.swapaxes(1, 2)[..., None], jnp.nan, result.out),
            weights=None if weights is None else jnp.where(poisoned[..., None], jnp.nan, weights),
            lse=None if lse is None else jnp.where(poisoned, jnp.nan, lse),
        )

    return on_finite
