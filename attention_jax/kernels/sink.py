"""A sink: a key that every query sees, with a logit of its own and a value of 0 (Xiao et al. 2023, section 3.3).

It adds exp(sink) to the normaliser and nothing to the sum, so any engine that returns its normaliser can have one:
out' = out sigmoid(lse - sink) and lse' = log(exp(lse) + exp(sink)). With a sink of 0 it is softmax-1 (Miller 2023).
"""

from dataclasses import replace

import jax
import jax.numpy as jnp

from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.problem import AttentionOutput, Problem


def asking(problem: Problem) -> Problem:
    """Returns the problem, asking for its normaliser where a sink needs it."""
    mechanism = problem.variant.mechanism
    if not isinstance(mechanism, SoftmaxScore) or mechanism.sink is None or "lse" in problem.outputs:
        return problem
    return replace(problem, outputs=(*problem.outputs, "lse"))


def added(problem: Problem, result: AttentionOutput, outputs: tuple[str, ...]) -> AttentionOutput:
    """Returns what an engine computed with the mechanism's sink added, and only the outputs that were asked for.

    A query that sees no key keeps its 0 and its -inf.
    """
    mechanism = problem.variant.mechanism
    if not isinstance(mechanism, SoftmaxScore) or mechanism.sink is None:
        return result
    assert result.lse is not None
    logit = mechanism.sink(problem.given).astype(result.lse.dtype)[:, None]
    empty = result.lse == -jnp.inf
    lse = jnp.where(empty, 0, result.lse)
    share = jnp.where(empty, 0, jax.nn.sigmoid(lse - logit))
    out = result.out * share.swapaxes(1, 2)[..., None]
    return replace(
        result,
        out=out.astype(result.out.dtype),
        weights=None if result.weights is None else result.weights * share[..., None],
        lse=jnp.where(empty, -jnp.inf, jnp.logaddexp(lse, logit)) if "lse" in outputs else None,
    )
