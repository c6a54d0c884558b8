"""A sink: a key that every query sees, with a logit of its own and a value of 0 (Xiao et al. 2023, section 3.3).

It adds exp(sink) to the normaliser and nothing to the sum, so any engine that returns its normaliser can have one:
out' = out sigmoid(lse - sink) and lse' = log(exp(lse) + exp(sink)). With a sink of 0 it is softmax-1 (Miller 2023).
"""

from collections.abc import Callable
from dataclasses import fields, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.composition import Composition, Solve, part
from attention_jax.kernels.mechanism import Given, Mechanism, SoftmaxScore
from attention_jax.kernels.problem import AttentionOutput, Problem


def with_sink(score: SoftmaxScore, sink: Callable[[Given], Float[Array, " N"]]) -> Composition:
    """Returns a softmax over scores with a sink.

    Args:
      score: the mechanism.
      sink: given -> the logit of the sink of each query head, [N].
    """

    def run(problem: Problem, solve: Solve) -> AttentionOutput:
        asked = tuple({*problem.outputs, "lse"})
        return _added(problem, solve(part(problem, score, name="without its sink", outputs=asked)), sink(problem.given))

    of_all = {field.name: getattr(score, field.name) for field in fields(Mechanism)}
    return Composition(run=run, **of_all)


def _added(problem: Problem, result: AttentionOutput, sink: Float[Array, " N"]) -> AttentionOutput:
    """What an engine computed with the sink added; a query that sees no key keeps its 0 and its -inf."""
    assert result.lse is not None
    logit = sink.astype(result.lse.dtype)[:, None]
    empty = result.lse == -jnp.inf
    lse = jnp.where(empty, 0, result.lse)
    share = jnp.where(empty, 0, jax.nn.sigmoid(lse - logit))
    out = result.out * share.swapaxes(1, 2)[..., None]
    return replace(
        result,
        out=out.astype(result.out.dtype),
        weights=None if result.weights is None else result.weights * share[..., None],
        lse=jnp.where(empty, -jnp.inf, jnp.logaddexp(lse, logit)) if "lse" in problem.outputs else None,
    )
