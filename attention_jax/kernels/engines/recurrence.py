"""Linear attention as a recurrence over chunks of tokens: O(T) time and memory for a kernel phi_q(q) . phi_k(k).

With S_t = sum_{j<=t} phi_k(k_j) [v_j, 1]^T the output is phi_q(q_t) S_t, its last column dividing the others
(Katharopoulos et al. 2020, equations 16-20). Causal: within a chunk of C tokens the weights are formed, C x C, and what
came before the chunk enters through the state. Without a causal mask there is one state, of all tokens.

The features of token j come with exp(c_j) taken out. Row i is computed relative to the largest c_j it has seen, so that
nothing overflows and, unlike with one maximum over all tokens, nothing of the future enters a row.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.kernels.errors import Refused
from attention_jax.kernels.mask import Causal, Padding
from attention_jax.kernels.mask_algebra import describe, terms
from attention_jax.kernels.mechanism import FeatureMap, to_statistics
from attention_jax.kernels.problem import AttentionOutput, Problem, without_nonfinite

CHUNK = 64


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RecurrentState:
    """What the tokens so far amount to.

    Attributes:
      total: [B, K, M, Hv + 1], the sum of phi_k(k_j) [v_j, 1]^T, exp(log_scale) taken out.
      log_scale: [B, K], -inf before the first visible token.
      poisoned: [B, K], whether a visible token held NaN or infinity.
    """

    total: Float[Array, "B K M V"]
    log_scale: Float[Array, "B K"]
    poisoned: Bool[Array, "B K"]


def refusal(problem: Problem) -> str | None:
    """Returns why the recurrence cannot solve the problem, or None."""
    if not isinstance(problem.variant.mechanism, FeatureMap):
        return "its weights are not a product of features of the query and of the key"
    if "weights" in problem.outputs or "lse" in problem.outputs:
        return "it never forms weights or their normaliser's log"
    rules = terms(problem.mask)
    if not all(isinstance(rule, (Causal, Padding)) for rule in rules):
        return f"it takes Causal and Padding, not {describe(problem.mask)}"
    causal = any(isinstance(rule, Causal) for rule in rules)
    if causal and problem.positions is not None:
        return "it takes tokens in their order in the array, not by positions"
    if (problem.state is not None or "state" in problem.outputs) and not causal:
        return "a state is of the past: it needs a Causal mask"
    return None


class _Tokens(NamedTuple):
    """The keys and values of a run of tokens, ready to be added to a state; a hidden one has log_scale -inf."""

    features: Float[Array, "B S K M"]
    log_scale: Float[Array, "B S K"]
    extended: Float[Array, "B S K V"]
    poisoned: Bool[Array, "B S K"]


def run(problem: Problem) -> AttentionOutput:
    """Computes linear attention from its state, in chunks when causal."""
    batch, queries, heads, _ = problem.query.shape
    kv_heads = problem.key.shape[2]
    query, bad_query = without_nonfinite(problem.query)
    mechanism = problem.variant.mechanism
    assert isinstance(mechanism, FeatureMap)
    of_query = mechanism.query_features(query, problem.params).values
    of_query = of_query.reshape(batch, queries, kv_heads, heads // kv_heads, -1)
    tokens = _tokens(problem, mechanism)
    start = _start(problem, _empty_state(tokens))
    if any(isinstance(rule, Causal) for rule in terms(problem.mask)):
        totals, poisoned, state = _causal(of_query, tokens, start)
    else:
        state = _after(start, tokens)
        totals = jnp.einsum("btkgm,bkmv->btkgv", of_query, state.total)
        poisoned = jnp.broadcast_to(state.poisoned[:, None], (batch, queries, kv_heads))
    total = totals.reshape(batch, queries, heads, -1)
    sees = total[..., -1:] > 0
    out = total[..., :-1] / jnp.where(sees, total[..., -1:], 1)
    poisoned = jnp.repeat(poisoned, heads // kv_heads, axis=2) | bad_query
    out = jnp.where(poisoned[..., None] & sees, jnp.nan, out)
    return AttentionOutput(out=out.astype(problem.query.dtype), state=state if "state" in problem.outputs else None)


def _tokens(problem: Problem, mechanism: FeatureMap) -> _Tokens:
    key, bad_key = without_nonfinite(problem.key)
    value, bad_value = without_nonfinite(problem.value)
    visible = jnp.ones((1, key.shape[1]), bool)
    for rule in terms(problem.mask):
        if isinstance(rule, Padding):
            visible = visible & rule.valid(jnp.arange(key.shape[1]))
    visible = visible[..., None]
    # A hidden token may hold anything, also what overflows in a feature: infinity times its weight of 0 is NaN.
    features = mechanism.key_features(jnp.where(visible[..., None], key, 0), problem.params)
    value = to_statistics(jnp.where(visible[..., None], value, 0))
    return _Tokens(
        features=features.values,
        log_scale=jnp.where(visible, features.log_scale, -jnp.inf),
        extended=jnp.concatenate([value, jnp.ones_like(value[..., :1])], axis=-1),
        poisoned=(bad_key | bad_value) & visible,
    )


def _empty_state(tokens: _Tokens) -> RecurrentState:
    batch, _, kv_heads, width = tokens.features.shape
    return RecurrentState(
        total=jnp.zeros((batch, kv_heads, width, tokens.extended.shape[-1]), tokens.extended.dtype),
        log_scale=jnp.full((batch, kv_heads), -jnp.inf, tokens.log_scale.dtype),
        poisoned=jnp.zeros((batch, kv_heads), bool),
    )


def _start(problem: Problem, empty: RecurrentState) -> RecurrentState:
    given = problem.state
    if given is None:
        return empty
    wanted = jax.tree.map(jnp.shape, empty)
    if not isinstance(given, RecurrentState) or jax.tree.map(jnp.shape, given) != wanted:
        raise Refused(
            f"the state is not one of {problem.variant.spec} for these heads and batch: give the one that attend "
            "returned for the tokens before, or None to begin."
        )
    return given


def _finite(log_scale: Array) -> Array:
    """0 in place of -inf, so that a difference to it stays -inf instead of becoming NaN."""
    return jnp.where(log_scale == -jnp.inf, 0, log_scale)


def _after(state: RecurrentState, tokens: _Tokens) -> RecurrentState:
    highest = jnp.maximum(state.log_scale, tokens.log_scale.max(1))
    scaled = tokens.features * jnp.exp(tokens.log_scale - _finite(highest)[:, None])[..., None]
    before = state.total * jnp.exp(state.log_scale - _finite(highest))[..., None, None]
    return RecurrentState(
        total=before + jnp.einsum("bskm,bskv->bkmv", scaled, tokens.extended),
        log_scale=highest,
        poisoned=state.poisoned | tokens.poisoned.any(1),
    )


# A chunk is computed again in the backward pass: what scan would keep of it is larger than its inputs by C / M. Wrapped
# here and not at the call, so that calls outside jit compile the scan once.
@partial(jax.checkpoint, prevent_cse=False)
def _chunk(
    state: RecurrentState, inputs: tuple[Float[Array, "B C K G M"], _Tokens]
) -> tuple[RecurrentState, tuple[Float[Array, "B C K G V"], Bool[Array, "B C K"]]]:
    of_query, tokens = inputs
    length = of_query.shape[1]
    highest = _finite(jnp.maximum(jax.lax.cummax(tokens.log_scale, axis=1), state.log_scale[:, None]))
    past = jnp.tril(jnp.ones((length, length), bool))[None, :, :, None]
    relative = jnp.where(past, tokens.log_scale[:, None] - highest[:, :, None], -jnp.inf)
    inside = jnp.einsum("btkgm,bskm->bkgts", of_query, tokens.features)
    inside = jnp.where(past[..., 0][:, None, None], inside, 0)
    weighted = inside * jnp.exp(relative).transpose(0, 3, 1, 2)[:, :, None]
    before = jnp.einsum("btkgm,bkmv->btkgv", of_query, state.total)
    before = before * jnp.exp(state.log_scale[:, None] - highest)[..., None, None]
    totals = before + jnp.einsum("bkgts,bskv->btkgv", weighted, tokens.extended)
    poisoned = state.poisoned[:, None] | (jnp.cumsum(tokens.poisoned, axis=1) > 0)
    return _after(state, tokens), (totals, poisoned)


def _causal(
    of_query: Float[Array, "B T K G M"], tokens: _Tokens, state: RecurrentState
) -> tuple[Float[Array, "B T K G V"], Bool[Array, "B T K"], RecurrentState]:
    length = of_query.shape[1]
    size = min(CHUNK, length)
    missing = -length % size

    def chunked(array: Array, fill: float = 0) -> Array:
        padding = [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2)
        padded = jnp.pad(array, padding, constant_values=fill)
        return jnp.moveaxis(padded.reshape(array.shape[0], -1, size, *array.shape[2:]), 1, 0)

    chunks = _Tokens(
        features=chunked(tokens.features),
        log_scale=chunked(tokens.log_scale, -jnp.inf),
        extended=chunked(tokens.extended),
        poisoned=chunked(tokens.poisoned),
    )
    state, (totals, poisoned) = jax.lax.scan(_chunk, state, (chunked(of_query), chunks))

    def joined(array: Array) -> Array:
        return jnp.moveaxis(array, 0, 1).reshape(array.shape[1], -1, *array.shape[3:])[:, :length]

    return joined(totals), joined(poisoned), state
