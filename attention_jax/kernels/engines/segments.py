"""Where the segments of a recurrence start, and what its state knows of those before it."""

from dataclasses import replace

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from attention_jax.kernels.engines.chunk import RecurrentState, Tokens
from attention_jax.kernels.mask import Segments
from attention_jax.kernels.mask_algebra import terms
from attention_jax.kernels.problem import Problem


def ids_of(problem: Problem) -> Int[Array, "B T"] | None:
    """Returns the id of each token of the whole sequences, of which the problem may hold a part; None without ids."""
    for rule in terms(problem.mask):
        if isinstance(rule, Segments):
            ids = rule.query_ids
            return jnp.broadcast_to(ids, (problem.query.shape[0], ids.shape[1]))
    return None


def packed(tokens: Tokens, starts: Bool[Array, "B T"], returned: Bool[Array, "B T"]) -> Tokens:
    """Returns the tokens in the segments that `runs` found."""
    return tokens._replace(starts=starts, poisoned=tokens.poisoned | returned[:, None])


def none_yet(ids: Int[Array, "B T"]) -> Int[Array, "B 3"]:
    """Returns what a state knows of segments before the first one."""
    limits = jnp.iinfo(ids.dtype)
    return jnp.broadcast_to(jnp.array([limits.max, limits.max, limits.min], ids.dtype), (ids.shape[0], 3))


def runs(ids: Int[Array, "B T"], before: Int[Array, "B 3"]) -> tuple[Bool[Array, "B T"], Bool[Array, "B T"]]:
    """Returns where segments start, and which of these starts reuse the id of an earlier segment."""
    last, lowest, highest = (before[:, column, None] for column in range(3))
    starts = ids != jnp.concatenate([last, ids[:, :-1]], axis=1)
    # In the order of their ids, each token beside the one before it with the same id, if there is one.
    order = jnp.argsort(ids, axis=1, stable=True)
    sorted_ids, sorted_runs = (jnp.take_along_axis(a, order, axis=1) for a in (ids, jnp.cumsum(starts, axis=1)))
    again = (jnp.diff(sorted_ids, axis=1) == 0) & (jnp.diff(sorted_runs, axis=1) > 0)
    again = jnp.pad(again, [(0, 0), (1, 0)])
    again = jnp.take_along_axis(again, jnp.argsort(order, axis=1), axis=1)
    return starts, again | (starts & (lowest <= ids) & (ids <= highest))


def ended(state: RecurrentState, ids: Int[Array, "B T"] | None) -> RecurrentState:
    """Returns the state after a call, with what it knows of the segments so far."""
    if ids is None or state.segment is None:
        return state
    _, lowest, highest = state.segment.T
    segment = [ids[:, -1], jnp.minimum(lowest, ids.min(1)), jnp.maximum(highest, ids.max(1))]
    return replace(state, segment=jnp.stack(segment, axis=1))
