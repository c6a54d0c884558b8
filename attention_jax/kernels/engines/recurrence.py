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
- A query that sees a token with NaN or infinity in its key, value or per_token gives NaN, and no other query does.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.engines import segments
from attention_jax.kernels.engines.chunk import RecurrentState, Rows, Tokens, step
from attention_jax.kernels.engines.poison import without_nonfinite
from attention_jax.kernels.mask import Causal, Padding, Segments
from attention_jax.kernels.mask_algebra import describe, terms
from attention_jax.kernels.mechanism import FeatureMap, Given, LinearRecurrence, statistics_dtype, to_statistics
from attention_jax.kernels.problem import AttentionOutput, Problem

# Tokens in a chunk, a power of two: matrices of CHUNK x CHUNK within, T / CHUNK states kept for the backward pass.
CHUNK = 64


def refusal(problem: Problem) -> str | None:
    """Returns why the recurrence cannot solve the problem, or None."""
    mechanism = problem.variant.mechanism
    if not isinstance(mechanism, (FeatureMap, LinearRecurrence)):
        return "its weights are not a product of features of the query and of the key"
    if problem.per_token and isinstance(mechanism, FeatureMap):
        return "features are of queries and keys alone: no per_token arrays"
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
    of_segments = [rule for rule in rules if isinstance(rule, Segments)]
    if of_segments and not causal:
        return "Segments is the end of one state and the start of the next: it needs a Causal mask beside it"
    if len(of_segments) > 1 or any(rule.key is not None and rule.key is not rule.query for rule in of_segments):
        return "it takes one segment id a token: give one Segments(ids), for queries and keys alike"
    return None


def run(problem: Problem) -> AttentionOutput:
    """Computes linear attention from its state, in chunks when causal."""
    tokens, bad_query = pieces(problem)
    ids = segments.ids_of(problem)
    start = _start(problem, empty_state(tokens, ids))
    if ids is not None and start.segment is not None:
        tokens = segments.packed(tokens, *segments.runs(ids, start.segment))
    if looks_back(problem):
        rows, state = in_chunks(tokens, start)
    else:
        state = all_at_once(tokens)
        rows = read(tokens, state)
    out = output(problem, tokens, rows, bad_query)
    return AttentionOutput(out=out, state=segments.ended(state, ids) if "state" in problem.outputs else None)


def looks_back(problem: Problem) -> bool:
    """Whether a query sees the state of the tokens up to its own, and not that of all."""
    return any(isinstance(rule, Causal) for rule in terms(problem.mask))


def output(problem: Problem, tokens: Tokens, rows: Rows, bad_query: Bool[Array, "B K G T"]) -> Float[Array, "B T N Hv"]:
    """Returns what the rows amount to: divided by their normaliser, NaN where they saw it, 0 where they saw nothing."""
    out, seen = rows.out, rows.seen[:, None, None]
    if tokens.log_scale is not None:
        normaliser = out[..., -1:]
        out = out[..., :-1] / jnp.where(normaliser > 0, normaliser, 1)
    out = jnp.where(((rows.poisoned[:, :, None] | bad_query) & seen)[..., None], jnp.nan, out)
    return out.transpose(0, 3, 1, 2, 4).reshape(*problem.query.shape[:3], -1).astype(problem.query.dtype)


def pieces(problem: Problem) -> tuple[Tokens, Bool[Array, "B K G T"]]:
    """Returns the tokens, segments left out, and which queries held NaN or infinity.

    A hidden token may hold anything, so it holds 0. So does one that is not finite, or of which the features are not: 0
    times infinity is NaN in the gradients of rows that do not see it.
    """
    visible = _visible(problem)
    query, bad_query = without_nonfinite(problem.query)
    key, bad_key = without_nonfinite(problem.key)
    value, bad_value = without_nonfinite(problem.value)
    per_token, bad_rest = _per_token(problem, visible)
    key, value = _shown(key, visible), to_statistics(_shown(value, visible))
    mechanism, given = problem.variant.mechanism, problem.given._replace(per_token=per_token)
    log_scale = log_decay = strength = reads = erases = None
    if isinstance(mechanism, FeatureMap):
        query, features = mechanism.query_features(query, given).values, mechanism.key_features(key, given)
        key, bad_rest = features.values, ~jnp.isfinite(features.log_scale)
        log_scale = _shown(jnp.where(bad_rest, 0, features.log_scale), visible, -jnp.inf).swapaxes(1, 2)
        value = jnp.concatenate([value, jnp.ones_like(value[..., :1])], axis=-1)
    else:
        assert isinstance(mechanism, LinearRecurrence)
        query = to_statistics(mechanism.prepare_query(query, given))
        raw_key, key = key, to_statistics(mechanism.prepare_key(key, given))
        log_decay, strength = _decay_and_strength(problem, raw_key, given, visible)
        if strength is not None and mechanism.update == "additive":
            value, strength = value * strength.swapaxes(1, 2)[..., None], None
        if mechanism.erase is not None:
            reads, erases = (to_statistics(_shown(array, visible)) for array in mechanism.erase(raw_key, given))
    (query, worse_query), (key, worse_key), (value, worse_value) = map(without_nonfinite, (query, key, value))
    bad = bad_key | bad_value | bad_rest | worse_key | worse_value
    if reads is not None and erases is not None:
        (reads, worse_reads), (erases, worse_erases) = map(without_nonfinite, (reads, erases))
        bad = bad | worse_reads | worse_erases
        reads, erases = reads.swapaxes(1, 2), erases.swapaxes(1, 2)

    def by_key_head(array: Array) -> Array:
        return jnp.moveaxis(array.reshape(*array.shape[:2], key.shape[2], -1, *array.shape[3:]), 1, 3)

    tokens = Tokens(
        query=by_key_head(query),
        key=key.swapaxes(1, 2),
        value=value.swapaxes(1, 2),
        log_scale=log_scale,
        log_decay=log_decay,
        strength=strength,
        reads=reads,
        erases=erases,
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
            visible = visible & rule.valid(problem.key_axis.index)
    return visible


def _shown(array: Array, visible: Bool[Array, "B S"], hidden: float = 0) -> Array:
    """Returns [B, S, ...] with `hidden` in the place of what a hidden token holds."""
    return jnp.where(visible.reshape(*visible.shape, *[1] * (array.ndim - 2)), array, jnp.asarray(hidden, array.dtype))


def _per_token(problem: Problem, visible: Bool[Array, "B S"]) -> tuple[dict[str, Array], Bool[Array, "B S K"]]:
    """Returns what the mechanism takes of each token beside key and value, cleaned, and which tokens held NaN there."""
    bad = jnp.zeros(problem.key.shape[:3], bool)
    per_token = {}
    for name, array in problem.per_token.items():
        finite = jnp.isfinite(array)
        per_token[name] = to_statistics(_shown(jnp.where(finite, array, 0), visible))
        bad = bad | ~(finite if finite.ndim == 3 else finite.all(-1))
    return per_token, bad


def _decay_and_strength(
    problem: Problem, key: Float[Array, "B S K J"], given: Given, visible: Bool[Array, "B S"]
) -> tuple[Float[Array, "B K S D"] | None, Float[Array, "B K S"] | None]:
    mechanism = problem.variant.mechanism
    assert isinstance(mechanism, LinearRecurrence)
    per_head, dtype = problem.key.shape[:3], statistics_dtype(problem.key.dtype)
    given = given._replace(params={name: array.astype(dtype) for name, array in given.params.items()})
    decay = strength = None
    if mechanism.log_decay is not None:
        decay = mechanism.log_decay(key, given).astype(dtype)
        decay = decay[..., None] if decay.ndim == 3 else decay
        decay = _shown(jnp.broadcast_to(decay, (*per_head, decay.shape[-1])), visible).swapaxes(1, 2)
    if mechanism.strength is not None or mechanism.update == "delta":
        strength = jnp.ones((1, 1, 1), dtype) if mechanism.strength is None else mechanism.strength(given)
        strength = _shown(jnp.broadcast_to(strength.astype(dtype), per_head), visible).swapaxes(1, 2)
    return decay, strength


def empty_state(tokens: Tokens, ids: Int[Array, "B T"] | None) -> RecurrentState:
    """Returns the state before the first token."""
    batch, kv_heads, _, width = tokens.key.shape
    return RecurrentState(
        total=jnp.zeros((batch, kv_heads, width, tokens.value.shape[-1]), tokens.value.dtype),
        log_scale=None if tokens.log_scale is None else jnp.full((batch, kv_heads), -jnp.inf, tokens.log_scale.dtype),
        poisoned=jnp.zeros((batch, kv_heads), bool),
        seen=jnp.zeros((batch,), bool),
        segment=None if ids is None else segments.none_yet(ids),
    )


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


def all_at_once(tokens: Tokens) -> RecurrentState:
    """Returns the state after the last token, with none before the first, of an update that is additive."""
    last, log_left, highest = jnp.ones((1, 1), bool), jnp.zeros((1, 1, 1, 1), tokens.key.dtype), None
    if tokens.starts is not None:
        segment = jnp.cumsum(tokens.starts, axis=1)
        last = segment == segment[:, -1:]
    if tokens.log_scale is not None:
        scale = jnp.where(last[:, None], tokens.log_scale, -jnp.inf)
        highest = scale.max(-1)
        log_left = (scale - jnp.where(highest == -jnp.inf, 0, highest)[..., None])[..., None]
    elif tokens.log_decay is not None:
        behind = jnp.pad(tokens.log_decay[:, :, 1:], [(0, 0), (0, 0), (0, 1), (0, 0)])
        log_left = jax.lax.cumsum(behind, axis=2, reverse=True)
    key = jnp.where(last[:, None, :, None], tokens.key * jnp.exp(log_left), 0)
    return RecurrentState(
        total=jnp.einsum("bkjm,bkjv->bkmv", key, tokens.value),
        log_scale=highest,
        poisoned=(tokens.poisoned & last[:, None]).any(-1),
        seen=(tokens.visible & last).any(-1),
    )


def read(tokens: Tokens, state: RecurrentState) -> Rows:
    """Returns what every query gets of one state."""
    batch, kv_heads, _, length, _ = tokens.query.shape
    return Rows(
        out=jnp.einsum("bkgim,bkmv->bkgiv", tokens.query, state.total),
        poisoned=jnp.broadcast_to(state.poisoned[..., None], (batch, kv_heads, length)),
        seen=jnp.broadcast_to(state.seen[..., None], (batch, length)),
    )


def in_chunks(tokens: Tokens, state: RecurrentState) -> tuple[Rows, RecurrentState]:
    """Returns what each query gets of the state of the tokens up to its own, and the state after the last."""
    length = tokens.key.shape[2]
    chunks = cut(tokens, min(CHUNK, 2 ** (length - 1).bit_length()))
    state, rows = jax.lax.scan(step, state, chunks)
    return joined(rows, length), state


def cut(tokens: Tokens, size: int) -> Tokens:
    """Returns the tokens in parts of `size`, [parts, ...] each; the last one is filled up with hidden tokens."""
    length = tokens.key.shape[2]
    parts = -(-length // size)
    wide = {"query", "key", "value", "log_decay", "reads", "erases"}

    def part(name: str, array: Array) -> Array:
        axis = array.ndim - (2 if name in wide else 1)
        padding = [(0, parts * size - length if dimension == axis else 0) for dimension in range(array.ndim)]
        array = jnp.pad(array, padding, constant_values=-jnp.inf if name == "log_scale" else 0)
        return jnp.moveaxis(array.reshape(*array.shape[:axis], parts, size, *array.shape[axis + 1 :]), axis, 0)

    present = {name: array for name, array in tokens._asdict().items() if array is not None}
    return tokens._replace(**{name: part(name, array) for name, array in present.items()})


def joined(rows: Rows, length: int) -> Rows:
    """Returns the rows of the first `length` tokens of [parts, ...], side by side."""

    def whole(array: Array, axis: int) -> Array:
        array = jax.lax.collapse(jnp.moveaxis(array, 0, axis - 1), axis - 1, axis + 1 or None)
        return jax.lax.slice_in_dim(array, 0, length, axis=array.ndim + axis)

    return Rows(whole(rows.out, -2), whole(rows.poisoned, -1), whole(rows.seen, -1))
