"""One query after the other, each with the state that those before have left: alignments.

With a state, and with outputs=("out", "state"), it goes on where an earlier call stopped: a decoder's step is a call
with one query. A step is computed again in the backward pass, so that what is kept of it is its state.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from attention_jax.base.errors import Refused
from attention_jax.kernels import dropout
from attention_jax.kernels.alignment import Alignment
from attention_jax.kernels.engines.poison import finite, poisoned_rows
from attention_jax.kernels.engines.rows import visible_to, weighted_sum
from attention_jax.kernels.mask_algebra import Axis
from attention_jax.kernels.mechanism import Place
from attention_jax.kernels.problem import AttentionOutput, Problem


def refusal(problem: Problem) -> str | None:
    """Returns why it cannot solve the problem, or None."""
    if not isinstance(problem.variant.mechanism, Alignment):
        return "it is for alignments, whose weights depend on those of earlier queries"
    return None


def run(problem: Problem) -> AttentionOutput:
    """Computes attention, one query after the other."""
    mechanism = problem.variant.mechanism
    assert isinstance(mechanism, Alignment)
    given, place, axis = problem.given, problem.place, problem.query_axis
    query, key, value = operands(problem)

    @partial(jax.checkpoint, prevent_cse=False)
    def step(state: Any, number: Array) -> tuple[Any, tuple[Array, Array, dict[str, Array]]]:
        cut = partial(jax.lax.dynamic_slice_in_dim, start_index=number, slice_size=1)
        here = Axis(cut(axis.index, axis=0), cut(axis.position, axis=1))
        own = Place(place.batch, place.heads, here.position, place.key)
        visible = _every_pair(problem, here)
        looked = mechanism.step(state, cut(query, axis=1)[:, 0], key, visible[:, :, 0], given._replace(place=own))
        weights = jnp.where(visible, looked.weights[:, :, None], 0)
        kept = dropout.dropped(weights, problem.rng, problem.dropout_rate, own)
        out = weighted_sum(kept, value, problem.query.dtype)
        some = visible.any((-1, -2))
        state = jax.tree.map(
            lambda new, old: jnp.where(some.reshape(*some.shape, *[1] * (new.ndim - 2)), new, old), looked.state, state
        )
        return state, (out[:, 0], kept[:, :, 0], looked.aux)

    state = _start(problem, mechanism, key)
    state, (out, weights, aux) = jax.lax.scan(step, state, jnp.arange(query.shape[1]))
    poisoned = _poisoned(problem)
    out = jnp.where(poisoned.swapaxes(1, 2)[..., None], jnp.nan, out.swapaxes(0, 1)).astype(problem.query.dtype)
    return AttentionOutput(
        out=out,
        weights=jnp.where(poisoned[..., None], jnp.nan, jnp.moveaxis(weights, 0, 2))
        if "weights" in problem.outputs
        else None,
        state=state if "state" in problem.outputs else None,
        aux={name: jnp.where(poisoned, jnp.nan, jnp.moveaxis(array, 0, 2)) for name, array in aux.items()}
        if "aux" in problem.outputs
        else None,
    )


def in_parallel(problem: Problem) -> AttentionOutput:
    """Computes attention by the mechanism's parallel form, with all weights in memory."""
    mechanism = problem.variant.mechanism
    assert isinstance(mechanism, Alignment)
    assert mechanism.parallel is not None
    query, key, value = operands(problem)
    visible = _every_pair(problem, problem.query_axis)
    weights = jnp.where(visible, mechanism.parallel(query, key, visible, problem.given), 0)
    weights = dropout.dropped(weights, problem.rng, problem.dropout_rate, problem.place)
    poisoned = _poisoned(problem)
    out = jnp.where(
        poisoned.swapaxes(1, 2)[..., None], jnp.nan, weighted_sum(weights, value, problem.query.dtype)
    ).astype(problem.query.dtype)
    wanted = "weights" in problem.outputs
    return AttentionOutput(out=out, weights=jnp.where(poisoned[..., None], jnp.nan, weights) if wanted else None)


def _poisoned(problem: Problem) -> Bool[Array, "B N T"]:
    """Which queries see NaN or infinity, or come after one that does, whose state they have."""
    return jax.lax.cummax(poisoned_rows(problem).astype(jnp.int32), axis=2) > 0


def operands(problem: Problem) -> tuple[Array, Array, Array]:
    """Returns query and key, prepared, and value, with 0 for what is not finite."""
    mechanism, given = problem.variant.mechanism, problem.given
    assert isinstance(mechanism, Alignment)
    query = mechanism.prepare_query(finite(problem.query), given)
    return query, mechanism.prepare_key(finite(problem.key), given), finite(problem.value)


def _every_pair(problem: Problem, queries: Axis) -> Bool[Array, "B N t S"]:
    """Which keys some queries see, for each sequence and head."""
    batch, _, heads, _ = problem.query.shape
    shape = (batch, heads, queries.index.shape[0], problem.key.shape[1])
    return jnp.broadcast_to(visible_to(problem, queries), shape)


def _start(problem: Problem, mechanism: Alignment, key: Array) -> Any:
    fresh = mechanism.start(key, problem.query.shape[2], problem.given)
    if problem.state is None:
        return fresh
    wanted, found = (jax.tree.map(lambda array: (array.shape, array.dtype), tree) for tree in (fresh, problem.state))
    if wanted != found:
        raise Refused(
            f"{problem.variant.spec} was given a state of other arrays than its own: give the state that attend "
            "returned for these keys and heads."
        )
    return problem.state
