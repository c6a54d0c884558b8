"""A sink: a key that every query sees, with a logit of its own and a value of 0 (Xiao et al. 2023, section 3.3).

It adds exp(sink) to the normaliser and nothing to the sum, so any engine that returns its normaliser can have one:
out' = out sigmoid(lse - sink) and lse' = log(exp(lse) + exp(sink)). With a sink of 0 it is softmax-1 (Miller 2023).
"""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.composition import Composition, Solve, around, part
from attention_jax.kernels.mechanism import Given, SoftmaxScore
from attention_jax.kernels.problem import AttentionOutput, Problem


def with_sink(score: SoftmaxScore, sink: Callable[[Given], Float[Array, " N"] | Float[Array, "B N T"]]) -> Composition:
    """Returns a softmax over scores with a sink.

    Args:
      score: the mechanism.
      sink: given -> the logit of the sink, [N] for one of each query head, or [B, N, T] for one of each query.
    """

    def run(problem: Problem, solve: Solve) -> AttentionOutput:
        asked = tuple({*problem.outputs, "lse"})
        return _added(problem, solve(part(problem, score, name="without its sink", outputs=asked)), sink(problem.given))

    return around(score, run, encoded=lambda encode: with_sink(encode(score), sink))


def _added(
    problem: Problem, result: AttentionOutput, sink: Float[Array, " N"] | Float[Array, "B N T"]
) -> AttentionOutput:
    """What an engine computed with the sink added; a query that sees no key keeps its 0 and its -inf."""
    assert result.lse is not None
    logit = sink.astype(result.lse.dtype)
    logit = logit[None, :, None] if logit.ndim == 1 else logit
    empty, poisoned = result.lse == -jnp.inf, jnp.isnan(result.lse)
    # NaN is taken out and put back: multiplied by a cotangent of 0 it would reach the gradient of the sink.
    lse = jnp.where(empty | poisoned, 0, result.lse)
    share = jnp.where(empty, 0, jax.nn.sigmoid(lse - logit))

    def shared(array: Array, share: Array, poisoned: Array) -> Array:
        return jnp.where(poisoned, jnp.nan, jnp.where(poisoned, 0, array).astype(share.dtype) * share)

    by_token = (array.swapaxes(1, 2)[..., None] for array in (share, poisoned))
    with_sink_lse = jnp.where(empty, -jnp.inf, jnp.where(poisoned, jnp.nan, jnp.logaddexp(lse, logit)))
    return replace(
        result,
        out=shared(result.out, *by_token).astype(result.out.dtype),
        weights=None if result.weights is None else shared(result.weights, share[..., None], poisoned[..., None]),
        lse=with_sink_lse if "lse" in problem.outputs else None,
    )
