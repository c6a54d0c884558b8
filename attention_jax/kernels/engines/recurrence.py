"""Linear attention as a recurrence over chunks of tokens: O(T) time and memory, one engine for the linear family.

A feature map has S_t = sum_{j<=t} phi_k(k_j) [v_j, 1]^T, and phi_q(q_t) S_t is its output with its normaliser in the
last column (Katharopoulos et al. 2020, equations 16-20); a `LinearRecurrence` has decays, the delta rule, and no
normaliser. `chunk` computes C tokens at once. Without a causal mask, which a feature map alone takes, there is one
state, of all tokens. States, sums and decays are float32 (float64 for float64); gates stay in log space.

What a mask means here:

- Padding: a hidden token neither decays nor writes, as if it were not there; its query reads what is before it.
- Segments: the state is empty again where the id changes. Ids are of runs: one that comes back after another would need
  its old state, so its second run gives NaN. Between calls a state knows no more than the last id, the lowest and the
  highest: a run in a later call must take an id outside of the range before it (1, 2, 3 and 0 for padding does).
- A query that sees a token with NaN or infinity in its key, value or inputs gives NaN, and no other query does.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from attention_jax.kernels.engines.chunk import RecurrentState, Rows, Tokens, step
from attention_jax.kernels.engines.poison import without_nonfinite
from attention_jax.kernels.errors import Refused
from attention_jax.kernels.mask import Causal, Padding, Segments
from attention_jax.kernels.mask_algebra import describe, terms
from attention_jax.kernels.mechanism import FeatureMap, LinearRecurrence, statistics_dtype, to_statistics
from attention_jax.kernels.problem import AttentionOutput, Problem

# Tokens in a chunk, a power of two: matrices of CHUNK x CHUNK within, T / CHUNK states kept for the backward pass.
CHUNK = 64


def refusal(problem: Problem) -> str | None:
    """Returns why the recurrence cannot solve the problem, or None."""
    mechanism = problem.variant.mechanism
    if not isinstance(mechanism, (FeatureMap, LinearRecurrence)):
        return "its weights are not a product of features of the query and of the key"
    if problem.inputs and isinstance(mechanism, FeatureMap):
        return "features are of queries and keys alone: no inputs of each token"
    if "weights" in problem.outputs or "lse" in problem.outputs:
        return "it never forms weights or their normaliser's log"
    rules = terms(problem.mask)
    if not all(isinstance(rule, (Causal, Padding, Segments)) for rule in rules):
        return f"it takes Causal, Padding and Segments, not {describe(problem.mask)}"
    causal = any(isinstance(rule, Causal) for rule in rules)
    if causal and problem.positions is not None:
        return "it takes tokens in their order in the array, not by positions"
    if not causal and (problem.state is not None or "state" in problem.outputs):
        return "a state is of the past: it needs a Causal mask"
    segments = [rule for rule in rules if isinstance(rule, Segments)]
    if segments and not causal:
        return "Segments is the end of one state and the start of the next: it needs a Causal mask beside it"
    if len(segments) > 1 or any(rule.key is not None and rule.key is not rule.query for rule in segments):
        return "it takes one segment id a token: give one Segments(ids), for queries and keys alike"
    return None


def run(problem: Problem) -> AttentionOutput:
    """Computes linear attention from its state, in chunks when causal."""
    tokens, bad_query = _tokens(problem)
    ids = _segment_ids(problem)
    start = _start(problem, _empty_state(tokens, ids))
    if ids is not None and start.segment is not None:
        starts, returned = _runs(ids, start.segment)
        tokens = tokens._replace(starts=starts, poisoned=tokens.poisoned | returned[:, None])
    if any(isinstance(rule, Causal) for rule in terms(problem.mask)):
        rows, state = _in_chunks(tokens, start)
    else:
        rows, state = _all_at_once(tokens), start
    out, seen = rows.out, rows.seen[:, None, None]
    if tokens.log_scale is not None:
        normaliser = out[..., -1:]
        out = out[..., :-1] / jnp.where(normaliser > 0, normaliser, 1)
    out = jnp.where(((rows.poisoned[:, :, None] | bad_query) & seen)[..., None], jnp.nan, out)
    out = out.transpose(0, 3, 1, 2, 4).reshape(*problem.query.shape[:3], -1).astype(problem.query.dtype)
    return AttentionOutput(out=out, state=_ended(state, ids) if "state" in problem.outputs else None)


def _tokens(problem: Problem) -> tuple[Tokens, Bool[Array, "B K G T"]]:
    """Returns the whole sequence, and which queries held NaN or infinity.

    A hidden token may hold anything, so it holds 0. So does one that is not finite, or of which the features are not: 0
    times infinity is NaN in the gradients of rows that do not see it.
    """
    visible = _visible(problem)
    query, bad_query = without_nonfinite(problem.query)
    key, bad_key = without_nonfinite(problem.key)
    value, bad_value = without_nonfinite(problem.value)
    inputs, bad_rest = _inputs(problem, visible)
    key, value = _shown(key, visible), to_statistics(_shown(value, visible))
    mechanism, params = problem.variant.mechanism, problem.params
    log_scale = log_decay = strength = None
    if isinstance(mechanism, FeatureMap):
        query, features = mechanism.query_features(query, params).values, mechanism.key_features(key, params)
        key, bad_rest = features.values, ~jnp.isfinite(features.log_scale)
        log_scale = _shown(jnp.where(bad_rest, 0, features.log_scale), visible, -jnp.inf).swapaxes(1, 2)
        value = jnp.concatenate([value, jnp.ones_like(value[..., :1])], axis=-1)
    else:
        assert isinstance(mechanism, LinearRecurrence)
        query, key = (to_statistics(array) for array in mechanism.prepare(query, key, params))
        log_decay, strength = _decay_and_strength(problem, inputs, visible)
        if strength is not None and mechanism.update == "additive":
            value, strength = value * strength.swapaxes(1, 2)[..., None], None
    (query, worse_query), (key, worse_key), (value, worse_value) = map(without_nonfinite, (query, key, value))
    bad = bad_key | bad_value | bad_rest | worse_key | worse_value

    def by_key_head(array: Array) -> Array:
        return jnp.moveaxis(array.reshape(*array.shape[:2], key.shape[2], -1, *array.shape[3:]), 1, 3)

    tokens = Tokens(
        query=by_key_head(query),
        key=key.swapaxes(1, 2),
        value=value.swapaxes(1, 2),
        log_scale=log_scale,
        log_decay=log_decay,
        strength=strength,
        visible=visible,
        poisoned=_shown(bad, visible).swapaxes(1, 2),
        starts=None,
    )
    return tokens, by_key_head(bad_query | worse_query)


def _visible(problem: Problem) -> Bool[Array, "B S"]:
    batch, keys = problem.key.shape[:2]
    visible = jnp.ones((batch, keys), bool)
    for rule in terms(problem.mask):
        if isinstance(rule, Padding):
            visible = visible & rule.valid(jnp.arange(keys))
    return visible


def _shown(array: Array, visible: Bool[Array, "B S"], hidden: float = 0) -> Array:
    """Returns [B, S, ...] with `hidden` in the place of what a hidden token holds."""
    return jnp.where(visible.reshape(*visible.shape, *[1] * (array.ndim - 2)), array, jnp.asarray(hidden, array.dtype))


def _inputs(problem: Problem, visible: Bool[Array, "B S"]) -> tuple[dict[str, Array], Bool[Array, "B S K"]]:
    """Returns what the mechanism takes of each token beside key and value, cleaned, and which tokens held NaN there."""
    bad = jnp.zeros(problem.key.shape[:3], bool)
    inputs = {}
    for name, array in problem.inputs.items():
        finite = jnp.isfinite(array)
        inputs[name] = to_statistics(_shown(jnp.where(finite, array, 0), visible))
        bad = bad | ~(finite if finite.ndim == 3 else finite.all(-1))
    return inputs, bad


def _decay_and_strength(
    problem: Problem, inputs: dict[str, Array], visible: Bool[Array, "B S"]
) -> tuple[Float[Array, "B K S D"] | None, Float[Array, "B K S"] | None]:
    mechanism, params = problem.variant.mechanism, problem.params
    assert isinstance(mechanism, LinearRecurrence)
    per_head, dtype = problem.key.shape[:3], statistics_dtype(problem.key.dtype)
    params = {name: array.astype(dtype) for name, array in params.items()}
    decay = strength = None
    if mechanism.log_decay is not None:
        decay = mechanism.log_decay(inputs, params).astype(dtype)
        decay = decay[..., None] if decay.ndim == 3 else decay
        decay = _shown(jnp.broadcast_to(decay, (*per_head, decay.shape[-1])), visible).swapaxes(1, 2)
    if mechanism.strength is not None or mechanism.update == "delta":
        strength = jnp.ones((1, 1, 1), dtype) if mechanism.strength is None else mechanism.strength(inputs, params)
        strength = _shown(jnp.broadcast_to(strength.astype(dtype), per_head), visible).swapaxes(1, 2)
    return decay, strength


def _segment_ids(problem: Problem) -> Int[Array, "B T"] | None:
    for rule in terms(problem.mask):
        if isinstance(rule, Segments):
            return jnp.broadcast_to(jnp.asarray(rule.query), problem.query.shape[:2])
    return None


def _empty_state(tokens: Tokens, ids: Int[Array, "B T"] | None) -> RecurrentState:
    batch, kv_heads, _, width = tokens.key.shape
    return RecurrentState(
        total=jnp.zeros((batch, kv_heads, width, tokens.value.shape[-1]), tokens.value.dtype),
        log_scale=None if tokens.log_scale is None else jnp.full((batch, kv_heads), -jnp.inf, tokens.log_scale.dtype),
        poisoned=jnp.zeros((batch, kv_heads), bool),
        seen=jnp.zeros((batch,), bool),
        segment=None if ids is None else _no_segment(ids),
    )


def _no_segment(ids: Int[Array, "B T"]) -> Int[Array, "B 3"]:
    limits = jnp.iinfo(ids.dtype)
    return jnp.broadcast_to(jnp.array([limits.max, limits.max, limits.min], ids.dtype), (ids.shape[0], 3))


def _start(problem: Problem, empty: RecurrentState) -> RecurrentState:
    given = problem.state
    if given is None:
        return empty
    wanted = jax.tree.map(jnp.shape, empty)
    if not isinstance(given, RecurrentState) or jax.tree.map(jnp.shape, given) != wanted:
        raise Refused(
            f"the state is not one of {problem.variant.spec} for these heads and batch, with or without Segments as "
            "here: give the one that attend returned for the tokens before, or None to begin."
        )
    return given


def _runs(ids: Int[Array, "B T"], before: Int[Array, "B 3"]) -> tuple[Bool[Array, "B T"], Bool[Array, "B T"]]:
    """Returns where a segment starts, and where one does whose id, as far as is known, has been there before."""
    last, lowest, highest = (before[:, column, None] for column in range(3))
    starts = ids != jnp.concatenate([last, ids[:, :-1]], axis=1)
    # In the order of their ids, each token beside the one before it with the same id, if there is one.
    order = jnp.argsort(ids, axis=1, stable=True)
    sorted_ids, sorted_runs = (jnp.take_along_axis(a, order, axis=1) for a in (ids, jnp.cumsum(starts, axis=1)))
    again = (jnp.diff(sorted_ids, axis=1) == 0) & (jnp.diff(sorted_runs, axis=1) > 0)
    again = jnp.pad(again, [(0, 0), (1, 0)])
    again = jnp.take_along_axis(again, jnp.argsort(order, axis=1), axis=1)
    return starts, again | (starts & (lowest <= ids) & (ids <= highest))


def _ended(state: RecurrentState, ids: Int[Array, "B T"] | None) -> RecurrentState:
    if ids is None or state.segment is None:
        return state
    _, lowest, highest = state.segment.T
    segment = [ids[:, -1], jnp.minimum(lowest, ids.min(1)), jnp.maximum(highest, ids.max(1))]
    return replace(state, segment=jnp.stack(segment, axis=1))


def _all_at_once(tokens: Tokens) -> Rows:
    """What every query gets of a feature map without a causal mask: the state of all tokens."""
    assert tokens.log_scale is not None
    highest = tokens.log_scale.max(-1, keepdims=True)
    left = jnp.exp(tokens.log_scale - jnp.where(highest == -jnp.inf, 0, highest))
    total = jnp.einsum("bkjm,bkjv->bkmv", tokens.key * left[..., None], tokens.value)
    batch, kv_heads, _, length, _ = tokens.query.shape
    return Rows(
        out=jnp.einsum("bkgim,bkmv->bkgiv", tokens.query, total),
        poisoned=jnp.broadcast_to(tokens.poisoned.any(-1, keepdims=True), (batch, kv_heads, length)),
        seen=jnp.broadcast_to(tokens.visible.any(-1, keepdims=True), (batch, length)),
    )


def _in_chunks(tokens: Tokens, state: RecurrentState) -> tuple[Rows, RecurrentState]:
    length = tokens.key.shape[2]
    size = min(CHUNK, 2 ** (length - 1).bit_length())
    missing = -length % size

    def cut(array: Array, axis: int, fill: float) -> Array:
        axis += array.ndim
        padding = [(0, missing if dimension == axis else 0) for dimension in range(array.ndim)]
        array = jnp.pad(array, padding, constant_values=fill)
        return jnp.moveaxis(array.reshape(*array.shape[:axis], -1, size, *array.shape[axis + 1 :]), axis, 0)

    def joined(array: Array, axis: int) -> Array:
        axis += array.ndim - 1
        array = jnp.moveaxis(array, 0, axis)
        array = array.reshape(*array.shape[:axis], -1, *array.shape[axis + 2 :])
        return jax.lax.slice_in_dim(array, 0, length, axis=axis)

    wide = {"query", "key", "value", "log_decay"}
    chunks = {
        name: cut(array, -2 if name in wide else -1, -jnp.inf if name == "log_scale" else 0)
        for name, array in tokens._asdict().items()
        if array is not None
    }
    state, rows = jax.lax.scan(step, state, tokens._replace(**chunks))
    return Rows(joined(rows.out, -2), joined(rows.poisoned, -1), joined(rows.seen, -1)), state
