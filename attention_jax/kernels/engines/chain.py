"""A recurrence over tokens that are spread over devices: each computes its own, and only states travel.

What a run of tokens does to the state S before it is S' = A S + E, with E the state that it gives from nothing. An
additive update has A = diag(the product of its decays). For the delta rule, and where a token erases, A is a product of
matrices, found by the engine itself: the run started from the identity, writing values of 0. Where a segment starts in
the run, A = 0. So a device computes A and E of its runs first, then the state that comes in, then its rows from there.
For an additive update the first is one product over all its tokens, without a loop.

- Handed on (LASP: Sun et al. 2024, arXiv 2404.02882): n - 1 hops of S to the next device.
- Gathered (LASP-2: Sun et al. 2025, arXiv 2502.07563): A and E of all devices, [n, ...], in one collective.

Neither moves, nor holds, anything that grows with the number of tokens. Without a causal mask there is one state, the
sum of the devices' own.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from attention_jax.kernels.engines import recurrence, segments
from attention_jax.kernels.engines.chunk import RecurrentState, Tokens, usable
from attention_jax.kernels.engines.ring import Ring
from attention_jax.kernels.problem import Problem


class Transition(NamedTuple):
    """What a run of tokens does to the state before it.

    Attributes:
      end: the state after it when there is none before.
      log_decay: [B, K, 1], or [B, K, M] by channel, the log of A's diagonal; None for no decay, and for a matrix.
      matrix: [B, K, M, M], A of what takes out what it reads; None for an additive update.
      through: [B], whether no segment starts in it; None without Segments.
    """

    end: RecurrentState
    log_decay: Float[Array, "B K D"] | None
    matrix: Float[Array, "B K M M"] | None
    through: Bool[Array, " B"] | None


# (devices, the number of each run [n, runs of one device], what a device's runs do [runs, ...], the empty state) -> the
# state before each run of this device, [runs, ...].
Exchange = Callable[[Ring, Int[np.ndarray, "n r"], Transition, RecurrentState], RecurrentState]


def attention(
    ring: Ring, runs: Int[np.ndarray, "n r"], problem: Problem, exchange: Exchange
) -> Float[Array, "B T N Hv"]:
    """Returns the rows of a device's queries over all tokens.

    Args:
      ring: the devices.
      runs: where in the sequence each run that each device holds stands, counted in runs.
      problem: what the device holds.
      exchange: `pass_states` or `gather_states`.
    """
    tokens, bad_query = recurrence.pieces(problem)
    if recurrence.looks_back(problem):
        length = tokens.key.shape[2]
        tokens = _in_segments(problem, tokens)
        parts = recurrence.cut(tokens, length // runs.shape[1])
        empty = recurrence.empty_state(tokens, None)
        before = exchange(ring, runs, jax.vmap(transition, in_axes=(0, None))(parts, empty), empty)
        rows = recurrence.joined(jax.vmap(recurrence.in_chunks)(parts, before)[0], length)
    else:
        rows = recurrence.read(tokens, _summed(ring, recurrence.all_at_once(tokens)))
    return recurrence.output(problem, tokens, rows, bad_query)


def _in_segments(problem: Problem, tokens: Tokens) -> Tokens:
    ids = segments.ids_of(problem)
    if ids is None:
        return tokens
    # Found in the whole sequence: a segment may start at the border of two devices, or come back on a later one.
    starts, returned = segments.runs(ids, segments.none_yet(ids))
    index = problem.key_axis.index
    return segments.packed(tokens, starts[:, index], returned[:, index])


def transition(tokens: Tokens, empty: RecurrentState) -> Transition:
    """Returns what a run of tokens does to the state before it.

    Args:
      tokens: the run.
      empty: the state before the first token of all.
    """
    log_decay = matrix = None
    if tokens.asked is None:
        end = recurrence.all_at_once(tokens)
        log_decay = None if tokens.log_decay is None else tokens.log_decay.sum(-2)
    else:
        end, matrix = _of_delta_rule(tokens, empty)
    return Transition(end, log_decay, matrix, through=None if tokens.starts is None else ~tokens.starts.any(-1))


def _of_delta_rule(tokens: Tokens, empty: RecurrentState) -> tuple[RecurrentState, Float[Array, "B K M M"]]:
    """E and A: the run from nothing beside the identity, writing its values beside 0, its rows not used."""
    batch, kv_heads, width, values = empty.total.shape
    unit = jnp.broadcast_to(jnp.eye(width, dtype=empty.total.dtype), (batch, kv_heads, width, width))
    start = replace(empty, total=jnp.concatenate([empty.total, unit], axis=-1))
    value = jnp.pad(tokens.value, [(0, 0), (0, 0), (0, 0), (0, width)])
    # One query a key head and not none: XLA on a CPU (jax 0.11.2) crashes on a loop with arrays of no elements.
    _, end = recurrence.in_chunks(tokens._replace(query=tokens.query[:, :, :1], value=value), start)
    return replace(end, total=end.total[..., :values]), end.total[..., values:]


def after(before: RecurrentState, run: Transition) -> RecurrentState:
    """Returns the state after a run of tokens, from the one before it."""
    end = run.end
    if run.through is None:
        through = jnp.ones((1, 1), bool)
    else:
        before, end, through = usable(before), usable(end), run.through[:, None]
    kept, log_scale = before.total, None
    if run.matrix is not None:
        kept = jnp.einsum("bkmn,bknv->bkmv", run.matrix, kept)
    elif run.log_decay is not None:
        kept = kept * jnp.exp(run.log_decay)[..., None]
    total = end.total
    if before.log_scale is not None and end.log_scale is not None:
        earlier = jnp.where(through, before.log_scale, -jnp.inf)
        log_scale = jnp.maximum(earlier, end.log_scale)
        # 0 in place of -inf, so that a difference to it stays -inf instead of becoming NaN.
        finite = jnp.where(log_scale == -jnp.inf, 0, log_scale)
        kept = kept * jnp.exp(earlier - finite)[..., None, None]
        total = total * jnp.exp(end.log_scale - finite)[..., None, None]
    return RecurrentState(
        total=total + jnp.where(through[..., None, None], kept, 0),
        log_scale=log_scale,
        poisoned=end.poisoned | (through & before.poisoned),
        seen=end.seen | (through[:, 0] & before.seen),
    )


def pass_states(
    ring: Ring, runs: Int[np.ndarray, "n r"], transitions: Transition, empty: RecurrentState
) -> RecurrentState:
    """Returns the states before a device's runs, each device telling the next: n - 1 hops for each of its runs."""
    before, head = [], empty
    for leg in range(runs.shape[1]):
        mine = jax.tree.map(lambda array, leg=leg: array[leg], transitions)
        before.append(_relayed(ring, np.argsort(runs[:, leg]).tolist(), mine, head, empty))
        # The last device of one run is the first of the next.
        head = after(before[-1], mine)
    return jax.tree.map(lambda *states: jnp.stack(states), *before)


def _relayed(
    ring: Ring, order: list[int], mine: Transition, head: RecurrentState, empty: RecurrentState
) -> RecurrentState:
    """The state before a device's run, from `head`, which the first device of `order` starts with.

    Every device hands on at every hop. What comes from the first one is right, and after n - 1 hops all does.
    """
    first = jax.lax.axis_index(ring.axis) == order[0]
    links = list(pairwise(order))

    def or_head(state: RecurrentState) -> RecurrentState:
        return jax.tree.map(lambda given, array: jnp.where(first, given, array), head, state)

    def hop(_: Array, state: RecurrentState) -> RecurrentState:
        return or_head(jax.lax.ppermute(after(state, mine), ring.axis, links))

    return jax.lax.fori_loop(0, ring.size - 1, hop, or_head(empty))


def gather_states(
    ring: Ring, runs: Int[np.ndarray, "n r"], transitions: Transition, empty: RecurrentState
) -> RecurrentState:
    """Returns the states before a device's runs, from what the runs of all devices do: one collective."""
    order = np.argsort(runs.ravel())

    def in_order(array: Array) -> Array:
        every = jax.lax.all_gather(array, ring.axis)
        return every.reshape(-1, *array.shape[1:])[order]

    every = jax.tree.map(in_order, transitions)
    _, before = jax.lax.scan(lambda state, run: (after(state, run), state), empty, every)
    mine = jnp.asarray(runs)[jax.lax.axis_index(ring.axis)]
    return jax.tree.map(lambda array: array[mine], before)


def _summed(ring: Ring, state: RecurrentState) -> RecurrentState:
    """The state of all tokens, from that of each device's own."""
    assert state.log_scale is not None
    # The scale cancels in the output, and with it its derivative.
    highest = jax.lax.pmax(jax.lax.stop_gradient(state.log_scale), ring.axis)
    left = jnp.exp(state.log_scale - jnp.where(highest == -jnp.inf, 0, highest))
    marks = jax.lax.psum((state.poisoned.astype(jnp.int32), state.seen.astype(jnp.int32)), ring.axis)
    total = jax.lax.psum(state.total * left[..., None, None], ring.axis)
    return RecurrentState(total=total, log_scale=highest, poisoned=marks[0] > 0, seen=marks[1] > 0)
