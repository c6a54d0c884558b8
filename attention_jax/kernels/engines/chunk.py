"""One chunk of a linear recurrence: C tokens at once, what came before them through the state.

The state of row i is what each write has left there, the decays between the two multiplied:

    S_i = diag(a_1 .. a_i) S_0 + sum_{j<=i} diag(a_j+1 .. a_i) k_j u_j^T,    out_i = S_i^T q_i

so that out = W u + (q decayed) S_0 with the C x C weights W_ij = sum_m q_im k_jm (a_j+1 .. a_i)_m. An additive update
writes u = v. The delta rule writes u_i = b_i (v_i - k_i^T diag(a_i) S_{i-1}), that is (I + diag(b) L) u =
diag(b) (v - (k decayed) S_0) with L the weights of keys in place of queries below the diagonal: one triangular system
(the UT transform of Yang et al. 2024, arXiv 2406.06484, section 3.2), and the rest is the same. An erase of its own
writes twice, k_i v_i^T and -e_i z_i^T with z_i = c_i^T diag(a_i) S_{i-1}, that is (I + E) z = A v + (c decayed) S_0,
with A the weights of c in place of queries on k below the diagonal, and E those on e.

Products of decays are sums of logs that are not above 0, each formed from the decays between its two tokens alone
(`_by_halves`): no difference of two sums is taken, so a gate that closes wholly neither overflows nor rounds away what
comes after it. The features of a feature map have exp(c_j) taken out instead; row i is then computed relative to the
largest c_j it has seen, which is a decay by the growth of that maximum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from attention_jax.kernels.engines.triangular import solve_unit_lower


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RecurrentState:
    """What the tokens so far amount to.

    Attributes:
      total: [B, K, M, V], S; for a feature map the sum of phi_k(k_j) [v_j, 1]^T, exp(log_scale) taken out.
      log_scale: [B, K], -inf before the first visible token; None for a mechanism that has no such scale.
      poisoned: [B, K], whether a visible token held NaN or infinity.
      seen: [B], whether a token was visible.
      segment: [B, 3], the id of the last segment, the lowest and the highest of all; None without Segments.
    """

    total: Float[Array, "B K M V"]
    log_scale: Float[Array, "B K"] | None
    poisoned: Bool[Array, "B K"]
    seen: Bool[Array, " B"]
    segment: Int[Array, "B 3"] | None = None


class Tokens(NamedTuple):
    """A run of tokens, heads first. A hidden one has 0 in key, value, log_decay and strength, -inf in log_scale.

    Attributes:
      query: [B, K, G, C, M], by key head.
      key: [B, K, C, M].
      value: [B, K, C, V].
      log_scale: [B, K, C], of a feature map; otherwise None.
      log_decay: [B, K, C, 1], or [B, K, C, M] by channel; None for no decay.
      strength: [B, K, C], b of the delta rule; None for an additive update.
      reads: [B, K, C, M], c of an erase: what the state is asked for before it is written; None for no erase.
      erases: [B, K, C, M], e of it: where the answer is taken out; None for no erase.
      visible: [B, C].
      poisoned: [B, K, C], whether it is visible and holds NaN or infinity.
      starts: [B, C], whether a segment starts here; None without Segments.
    """

    query: Float[Array, "B K G C M"]
    key: Float[Array, "B K C M"]
    value: Float[Array, "B K C V"]
    log_scale: Float[Array, "B K C"] | None
    log_decay: Float[Array, "B K C D"] | None
    strength: Float[Array, "B K C"] | None
    reads: Float[Array, "B K C M"] | None
    erases: Float[Array, "B K C M"] | None
    visible: Bool[Array, "B C"]
    poisoned: Bool[Array, "B K C"]
    starts: Bool[Array, "B C"] | None

    @property
    def asked(self) -> Float[Array, "B K C M"] | None:
        """What each token reads of the state before it writes; None where that plays no part."""
        return self.reads if self.strength is None else self.key


class Rows(NamedTuple):
    """What a chunk gives.

    Attributes:
      out: [B, K, G, C, V].
      poisoned: [B, K, C], whether the row sees a token that held NaN or infinity.
      seen: [B, C], whether the row sees a token.
    """

    out: Float[Array, "B K G C V"]
    poisoned: Bool[Array, "B K C"]
    seen: Bool[Array, "B C"]


class _Reach(NamedTuple):
    """Who is in one segment with whom."""

    pairs: Bool[Array, "b 1 C C"]
    from_state: Bool[Array, "b 1 C"]
    to_end: Bool[Array, "b 1 C"]
    through: Bool[Array, "b 1"]


class _Write(NamedTuple):
    """What the tokens leave in the state: keys [B, K, C, M], values [B, K, C, V], their weights in each row."""

    key: Float[Array, "B K C M"]
    value: Float[Array, "B K C V"]
    weights: Float[Array, "B K R C C"]


class _Left(NamedTuple):
    """The log of what is left of a write: of token j's at token i, of the state's at i, of j's and of it at the end."""

    pairs: Float[Array, "b k C C"] | None
    into: Float[Array, "b k C D"]
    onto: Float[Array, "b k C D"]
    through: Float[Array, "b k D"]


# A chunk is computed again in the backward pass: what scan would keep of it is larger than its inputs by C / M. Wrapped
# here and not at the call, so that calls outside jit compile the scan once.
@partial(jax.checkpoint, prevent_cse=False)
def step(state: RecurrentState, tokens: Tokens) -> tuple[RecurrentState, Rows]:
    """Returns the state after a chunk, its `segment` as it was, and the rows of the chunk."""
    reach = _reach(tokens)
    if tokens.starts is not None:
        state = usable(state)
    groups = tokens.query.shape[2]
    rows = tokens.query if tokens.asked is None else jnp.concatenate([tokens.query, tokens.asked[:, :, None]], axis=2)
    weights, left, log_scale = _weights(rows, tokens, state, reach)
    carried = jnp.where(reach.from_state[:, :, None, :, None], rows * jnp.exp(left.into)[:, :, None], 0)
    carried = jnp.einsum("bkrim,bkmv->bkriv", carried, state.total)
    writes, overflown = _writes(rows, weights, carried, tokens, state, reach)
    tokens = tokens._replace(poisoned=tokens.poisoned | overflown)
    out = carried[:, :, :groups]
    total = jnp.where(reach.through[..., None, None], state.total * jnp.exp(left.through)[..., None], 0)
    for write in writes:
        out = jnp.einsum("bkgij,bkjv->bkgiv", write.weights[:, :, :groups], write.value) + out
        key = jnp.where(reach.to_end[..., None], write.key * jnp.exp(left.onto), 0)
        total = total + jnp.einsum("bkjm,bkjv->bkmv", key, write.value)
    poisoned, seen = _marks(state, tokens, reach)
    state = RecurrentState(
        total=total, log_scale=log_scale, poisoned=poisoned[..., -1], seen=seen[..., -1], segment=state.segment
    )
    return state, Rows(out, poisoned, seen)


def _writes(
    rows: Float[Array, "B K R C M"],
    weights: Float[Array, "B K R C C"],
    carried: Float[Array, "B K R C V"],
    tokens: Tokens,
    state: RecurrentState,
    reach: _Reach,
) -> tuple[list[_Write], Bool[Array, "B K C"] | bool]:
    """Returns what the tokens write, and which of them overflow there."""
    if tokens.asked is None:
        return [_Write(tokens.key, tokens.value, weights)], False
    writes, found = [], carried[:, :, -1]
    if tokens.strength is not None:
        key, strength = tokens.key, tokens.strength[..., None]
        system, right = strength * weights[:, :, -1], strength * (tokens.value - found)
    else:
        assert tokens.erases is not None
        key, writes = tokens.erases, [_Write(tokens.key, tokens.value, weights)]
        right = -(jnp.tril(weights[:, :, -1], -1) @ tokens.value + found)
        weights, _, _ = _weights(rows, tokens._replace(key=key), state, reach)
        system = weights[:, :, -1]
    # What overflows here is for the rows that see it, and 0 times infinity would reach those that do not.
    fits = jnp.isfinite(right)
    solved = solve_unit_lower(system, jnp.where(fits, right, 0))
    finite = jnp.isfinite(solved)
    return [*writes, _Write(key, jnp.where(finite, solved, 0), weights)], ~(fits & finite).all(-1)


def _reach(tokens: Tokens) -> _Reach:
    length = tokens.key.shape[2]
    past = jnp.tril(jnp.ones((1, 1, length, length), bool))
    if tokens.starts is None:
        every = jnp.ones((1, 1, length), bool)
        return _Reach(past, every, every, every[..., 0])
    run = jnp.cumsum(tokens.starts, axis=1)[:, None]
    last = run[..., -1:]
    return _Reach(past & (run[..., :, None] == run[..., None, :]), run == 0, run == last, last[..., 0] == 0)


def usable(state: RecurrentState) -> RecurrentState:
    """Returns the state with its non-finite numbers marked and taken out: an overflow stays within its segment."""
    finite = jnp.isfinite(state.total)
    return RecurrentState(
        total=jnp.where(finite, state.total, 0),
        log_scale=state.log_scale,
        poisoned=state.poisoned | ~finite.all((2, 3)),
        seen=state.seen,
        segment=state.segment,
    )


def _marks(state: RecurrentState, tokens: Tokens, reach: _Reach) -> tuple[Bool[Array, "B K C"], Bool[Array, "B C"]]:
    marks = jnp.concatenate([tokens.poisoned, tokens.visible[:, None]], axis=1)
    before = jnp.concatenate([state.poisoned, state.seen[:, None]], axis=1)
    counts = marks.astype(jnp.float32) @ reach.pairs[:, 0].swapaxes(1, 2).astype(jnp.float32)
    found = (counts > 0) | (reach.from_state & before[..., None])
    return found[:, :-1], found[:, -1]


def _weights(
    rows: Float[Array, "B K R C M"], tokens: Tokens, state: RecurrentState, reach: _Reach
) -> tuple[Float[Array, "B K R C C"], _Left, Float[Array, "B K"] | None]:
    """Returns the weights of each token's write in each row, what is left of the others, and the scale at the end."""
    pairs, log_scale, decay = reach.pairs[:, :, None], None, tokens.log_decay
    if decay is not None and decay.shape[-1] > 1:
        weights, into, onto = _by_channel(rows, tokens.key, decay)
        return jnp.where(pairs, weights, 0), _Left(None, into, onto, into[:, :, -1]), None
    # Masked before as well as after it is multiplied by what is left: a product that overflows may be hidden.
    weights = jnp.where(pairs, jnp.einsum("bkrim,bkjm->bkrij", rows, tokens.key), 0)
    if tokens.log_scale is not None and state.log_scale is not None:
        left, log_scale = _of_scale(tokens.log_scale, state.log_scale, reach, runs=tokens.starts is not None)
    elif decay is not None:
        left = _of_decay(decay)
    else:
        nothing = jnp.zeros((1, 1, rows.shape[3], 1), rows.dtype)
        left = _Left(None, nothing, nothing, nothing[:, :, 0])
    if left.pairs is not None:
        weights = jnp.where(pairs, weights * jnp.exp(left.pairs)[:, :, None], 0)
    return weights, left, log_scale


def _of_scale(
    log_scale: Float[Array, "B K C"], before: Float[Array, "B K"], reach: _Reach, *, runs: bool
) -> tuple[_Left, Float[Array, "B K"]]:
    if runs:
        highest = jnp.where(reach.pairs, log_scale[:, :, None], -jnp.inf).max(-1)
    else:
        highest = jax.lax.cummax(log_scale, axis=2)
    before = before[..., None]
    highest = jnp.maximum(highest, jnp.where(reach.from_state, before, -jnp.inf))
    # 0 in place of -inf, so that a difference to it stays -inf instead of becoming NaN.
    finite = jnp.where(highest == -jnp.inf, 0, highest)
    last = finite[..., -1:]
    left = _Left(
        pairs=jnp.where(reach.pairs, log_scale[:, :, None] - finite[..., None], -jnp.inf),
        into=jnp.where(reach.from_state, before - finite, -jnp.inf)[..., None],
        onto=jnp.where(reach.to_end, log_scale - last, -jnp.inf)[..., None],
        through=jnp.where(reach.through[..., None], before - last, -jnp.inf),
    )
    return left, highest[..., -1]


def _of_decay(log_decay: Float[Array, "B K C 1"]) -> _Left:
    def cross(into: Array, onto: Array, size: int) -> Array:
        return into + onto.swapaxes(-1, -2)

    diagonal = jnp.zeros(log_decay.shape[:-1], log_decay.dtype)
    pairs, into, onto = _by_halves(log_decay, diagonal, cross, above=-jnp.inf)
    return _Left(pairs, into, onto, into[:, :, -1])


def _by_channel(
    rows: Float[Array, "B K R C M"], key: Float[Array, "B K C M"], log_decay: Float[Array, "B K C M"]
) -> tuple[Float[Array, "B K R C C"], Float[Array, "B K C M"], Float[Array, "B K C M"]]:
    def cross(into: Array, onto: Array, size: int) -> Array:
        later, earlier = _halves(rows, size)[1] * jnp.exp(into)[:, :, None], _halves(key, size)[0] * jnp.exp(onto)
        return jnp.einsum("bkrnim,bknjm->bkrnij", later, earlier)

    return _by_halves(log_decay, jnp.einsum("bkrim,bkim->bkri", rows, key), cross, above=0)


def _by_halves(
    log_decay: Float[Array, "B K C D"],
    diagonal: Float[Array, "*heads C"],
    cross: Callable[[Array, Array, int], Array],
    *,
    above: float,
) -> tuple[Float[Array, "*heads C C"], Float[Array, "B K C D"], Float[Array, "B K C D"]]:
    """Builds a lower triangular matrix of pairs from blocks of 1, 2, 4 ... tokens, each of two that are half as long.

    Args:
      log_decay: of each token; C is a power of two.
      diagonal: the pairs of a token with itself.
      cross: gives a block of the pairs of the second half with the first, [..., n, size, size], from the sums of
        log_decay from the border to each token of the second half and from behind each of the first to the border,
        [B, K, n, size, D], and the size of a half.
      above: what stands above the diagonal.

    Returns:
      The matrix, and the sums from the start of the chunk to each token and from behind each token to the end.
    """
    shape = log_decay.shape
    into, onto, matrix = log_decay, jnp.zeros_like(log_decay), diagonal[..., None, None]
    for size in (2**level for level in range(shape[2].bit_length() - 1)):
        (first_into, second_into), (first_onto, second_onto) = _halves(into, size), _halves(onto, size)
        below = cross(second_into, first_onto, size)
        first, second = matrix[..., 0::2, :, :], matrix[..., 1::2, :, :]
        upper = jnp.concatenate([first, jnp.full_like(first, above)], axis=-1)
        matrix = jnp.concatenate([upper, jnp.concatenate([below, second], axis=-1)], axis=-2)
        first_whole, second_whole = first_into[..., -1:, :], second_into[..., -1:, :]
        into = jnp.concatenate([first_into, second_into + first_whole], axis=-2).reshape(shape)
        onto = jnp.concatenate([first_onto + second_whole, second_onto], axis=-2).reshape(shape)
    return matrix[..., 0, :, :], into, onto


def _halves(array: Float[Array, "... C D"], size: int) -> tuple[Float[Array, "... n s D"], Float[Array, "... n s D"]]:
    """Cuts into blocks of two halves of `size` tokens each, and returns the first halves and the second ones."""
    blocks = array.reshape(*array.shape[:-2], -1, 2, size, array.shape[-1])
    return blocks[..., 0, :, :], blocks[..., 1, :, :]
