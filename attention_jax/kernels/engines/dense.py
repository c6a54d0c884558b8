"""The reference engine: every weight in memory, any mask, derivatives of any order, float64.

Scores, weights and their sums are float32 whatever the inputs are (float64 for float64). Order: scale, bias, score
function, soft cap, mask, normalise, dropout. Memory: O(B N T S).
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.kernels import dropout
from attention_jax.kernels.alignment import Alignment
from attention_jax.kernels.engines import rows, stepwise
from attention_jax.kernels.engines.poison import bad_tokens, finite
from attention_jax.kernels.mechanism import FeatureMap, RowScore, Score, SoftmaxScore, dot
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.scores import Terms, folded, logits, own_arrays, scorer_of
from attention_jax.kernels.softmax import masked_exponentials


def refusal(problem: Problem) -> str | None:
    """Returns why the dense engine cannot solve the problem, or None."""
    if problem.state is not None or "state" in problem.outputs:
        return "it forms all weights at once and carries no state"
    mechanism = problem.variant.mechanism
    if isinstance(mechanism, Alignment) and mechanism.parallel is None:
        return "the alignment has no parallel form"
    if isinstance(mechanism, Alignment) and "aux" in problem.outputs:
        return "a parallel form reports nothing"
    if not isinstance(mechanism, (Score, FeatureMap, Alignment)):
        return "it forms weights from queries and keys, and no state that they change"
    if problem.per_token and isinstance(mechanism, FeatureMap):
        return "features are of queries and keys alone: no per_token arrays"
    return None


def run(problem: Problem) -> AttentionOutput:
    """Computes attention with every weight in memory."""
    mechanism = problem.variant.mechanism
    if isinstance(mechanism, RowScore):
        return rows.run(problem)
    if isinstance(mechanism, Alignment):
        return stepwise.in_parallel(problem)
    query, key, value = finite(problem.query), finite(problem.key), finite(problem.value)
    visible = rows.visible_to(problem, problem.query_axis)
    if isinstance(mechanism, SoftmaxScore):
        scores = _logits(mechanism, query, key, problem, visible)
    elif isinstance(mechanism, FeatureMap):
        scores = _log_kernel(mechanism, query, key, problem)
    else:
        raise TypeError(f"the dense engine cannot run a {type(mechanism).__name__}")
    exponentials, total, lse = masked_exponentials(scores, visible)
    exponentials = dropout.dropped(exponentials, problem.rng, problem.dropout_rate, problem.place)
    # Divided after the sum: the weights of many keys are too small for float16.
    out = rows.weighted_sum(exponentials, value, problem.query.dtype) / total.swapaxes(1, 2)[..., None]
    # NaN goes in at the end: inside the sums, 0 times NaN would reach the gradients of rows that do not see it.
    heads = query.shape[2]
    bad_query, bad_key = bad_tokens(problem)
    bad = _by_head(bad_query, heads)[..., :, None] | _by_head(bad_key, heads)[..., None, :]
    poisoned = (bad & visible).any(-1)
    out = jnp.where(poisoned.swapaxes(1, 2)[..., None], jnp.nan, out)
    return AttentionOutput(
        out=out.astype(problem.query.dtype),
        weights=jnp.where(poisoned[..., None], jnp.nan, exponentials / total[..., None])
        if "weights" in problem.outputs
        else None,
        lse=jnp.where(poisoned, jnp.nan, lse) if "lse" in problem.outputs else None,
        logits=jnp.where(poisoned[..., None], jnp.nan, jnp.where(visible, scores, -jnp.inf))
        if "logits" in problem.outputs
        else None,
    )


def _by_head(bad: Bool[Array, "B T K"], heads: int) -> Bool[Array, "B N T"]:
    return jnp.repeat(bad, heads // bad.shape[2], axis=2).transpose(0, 2, 1)


def _logits(
    mechanism: SoftmaxScore, query: Array, key: Array, problem: Problem, visible: Bool[Array, "b n t s"]
) -> Float[Array, "B N T S"]:
    given = problem.given
    query, key = mechanism.prepare_query(query, given), mechanism.prepare_key(key, given)
    terms = Terms(own=own_arrays(mechanism, problem.params), bias=problem.bias, captures=problem.captures)
    scorer, factor = folded(scorer_of(mechanism, problem.score_mod, width=query.shape[-1]), query.dtype)
    return logits(scorer, query * factor, key, terms, problem.place, None if problem.mask is None else visible)


def _log_kernel(mechanism: FeatureMap, query: Array, key: Array, problem: Problem) -> Float[Array, "B N T S"]:
    given = problem.given
    of_query, of_key = mechanism.query_features(query, given), mechanism.key_features(key, given)
    kernel = dot(of_query.values, of_key.values, given)
    log_scale = jnp.repeat(of_key.log_scale, query.shape[2] // key.shape[2], axis=2)
    # The inner where keeps the derivative of log finite for a kernel that has underflowed to 0. NaN is not 0.
    some = ~(kernel <= 0)
    return jnp.where(some, jnp.log(jnp.where(some, kernel, 1)), -jnp.inf) + log_scale.transpose(0, 2, 1)[:, :, None]
