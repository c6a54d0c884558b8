"""Each query with the blocks of keys that are chosen for it, gathered, in memory linear in the tokens.

Blocks are counted over the keys that padding leaves, in the order of their positions, so that padding is as if it were
not there. Some queries are met at a time, each as a sequence of its own with the keys of its blocks; what they needed
is computed again in the backward pass.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from attention_jax.kernels.budget import at_a_time
from attention_jax.kernels.composition import Solve, on_other_tokens
from attention_jax.kernels.mask import Padding
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.problem import AttentionOutput, Problem


def as_sequences(array: Float[Array, "B N T H"], chosen: Int[Array, "B N c w"]) -> Float[Array, "s w 1 H"]:
    """Returns the tokens that are chosen for each of c groups as a sequence of one head; any for what is none."""
    taken = jnp.take_along_axis(array, chosen.reshape(*chosen.shape[:2], -1, 1), axis=2, mode="clip")
    return taken.reshape(-1, chosen.shape[-1], 1, array.shape[-1])


class Ordered(NamedTuple):
    """The tokens of a causal problem in the order of their positions.

    Attributes:
      query: [B, T, N, H], as they lie.
      key: [B, S, K, J], in order, those that padding hides last.
      value: [B, S, K, Hv], likewise.
      last: [B, T], the number of the last key that each query sees, which sees all before it; -1 for none.
    """

    query: Float[Array, "B T N H"]
    key: Float[Array, "B S K J"]
    value: Float[Array, "B S K Hv"]
    last: Int[Array, "B T"]


def in_order(problem: Problem) -> Ordered:
    """Returns the tokens of a problem under a mask of Causal and Padding, in their order."""
    batch, keys = problem.key.shape[:2]
    of_query, of_key = problem.query_axis.position, problem.key_axis.position
    of_key = jnp.broadcast_to(of_key, (batch, keys))
    of_query = jnp.broadcast_to(of_query, (batch, of_query.shape[1]))
    real = problem.real
    order = jnp.lexsort((of_key, ~real))
    hidden_last = jnp.where(real, of_key, jnp.iinfo(of_key.dtype).max)
    hidden_last = jnp.take_along_axis(hidden_last, order, axis=1)
    before = jax.vmap(partial(jnp.searchsorted, side="right"))(hidden_last, of_query)
    seen = jnp.minimum(before, real.sum(1, keepdims=True, dtype=before.dtype))

    def ordered(array: Array) -> Array:
        return jnp.take_along_axis(array, order[:, :, None, None], axis=1)

    return Ordered(problem.query, ordered(problem.key), ordered(problem.value), seen - 1)


def in_blocks(array: Float[Array, "B S K J"], size: int) -> Float[Array, "B K c b J"]:
    """Returns the tokens in blocks of a size, the last one filled up with 0."""
    batch, tokens, heads, width = array.shape
    array = jnp.pad(array, ((0, 0), (0, -tokens % size), (0, 0), (0, 0)))
    return array.reshape(batch, -1, size, heads, width).transpose(0, 3, 1, 2, 4)


Choose = Callable[[Float[Array, "B t N H"], Int[Array, "B t"]], Int[Array, "B K g t k"]]


def highest(scores: Float[Array, "*a c"], allowed: Bool[Array, "*a c"], count: int) -> Int[Array, "*a k"]:
    """Returns the blocks of the highest scores among those allowed; the number of all blocks where there are fewer."""
    blocks = scores.shape[-1]
    best, chosen = jax.lax.top_k(jnp.where(allowed, scores, -jnp.inf), min(count, blocks))
    return jnp.where(best > -jnp.inf, chosen, blocks)


def attend_chosen(
    problem: Problem,
    solve: Solve,
    tokens: Ordered,
    choose: Choose,
    *,
    block: int,
    count: int,
    scored: int,
    name: str,
) -> AttentionOutput:
    """Returns scaled dot-product attention of each query to the keys that it sees in the blocks chosen for it.

    Args:
      problem: the whole.
      solve: as of `Composition.run`.
      tokens: its tokens in order.
      choose: (some queries [B, t, N, H], the number of the last key each sees [B, t]) -> the numbers of their blocks
        [B, K, g, t, k], none twice, for g groups of the query heads of each key head; one past the last for none.
      block: the keys in a block.
      count: k, how many blocks at most.
      scored: how many scores `choose` forms for each query and head.
      name: what the part is, for `explain` and for refusals.

    Returns:
      `out` and `lse` of the queries.
    """
    batch, queries, heads, width = tokens.query.shape
    key, value = in_blocks(tokens.key, block), in_blocks(tokens.value, block)
    kv_heads, blocks = key.shape[1:3]
    gathered = min(count, blocks) * block * (width + value.shape[-1])
    size = at_a_time(queries, batch * heads * (gathered + 2 * scored))

    def of_some(query: Array, last: Array) -> tuple[Array, Array]:
        chosen = choose(query, last)
        groups, some = chosen.shape[2:4]
        taken = jax.vmap(jax.vmap(lambda array, at: jnp.take(array, at, axis=0, mode="clip")))
        apart = partial(_apart, keys=chosen.shape[-1] * block)
        number = chosen[..., None] * block + jnp.arange(block, dtype=chosen.dtype).reshape(1, 1, 1, 1, 1, -1)
        real = number <= last[:, None, None, :, None, None]
        by_head = query.reshape(batch, some, kv_heads, groups, -1, width).transpose(0, 2, 3, 1, 4, 5)
        result = solve(
            on_other_tokens(
                problem,
                SoftmaxScore(scale=None),
                name=name,
                query=by_head.reshape(-1, 1, *by_head.shape[4:]),
                key=apart(taken(key, chosen)),
                value=apart(taken(value, chosen)),
                mask=Padding(real.reshape(-1, chosen.shape[-1] * block)),
                outputs=("out", "lse"),
            )
        )
        assert result.lse is not None
        out = result.out.reshape(*by_head.shape[:-1], -1).transpose(0, 3, 1, 2, 4, 5)
        lse = result.lse.reshape(by_head.shape[:-1]).transpose(0, 3, 1, 2, 4)
        return out.reshape(batch, some, heads, -1), lse.reshape(batch, some, heads)

    out, lse = some_at_a_time(of_some, tokens.query, tokens.last, size=size)
    return AttentionOutput(out=out, lse=lse.swapaxes(1, 2))


def _apart(array: Float[Array, "B K g t k b J"], *, keys: int) -> Float[Array, "s keys 1 J"]:
    return array.reshape(-1, keys, 1, array.shape[-1])


def some_at_a_time(function: Callable[..., tuple[Array, ...]], *arrays: Array, size: int) -> tuple[Array, ...]:
    """Returns what a function gives of arrays [B, T, ...], of so many of the T at a time."""
    tokens = arrays[0].shape[1]
    if tokens <= size:
        return function(*arrays)

    def cut(array: Array) -> Array:
        array = jnp.pad(array, [(0, -tokens % size if axis == 1 else 0) for axis in range(array.ndim)], mode="edge")
        return jnp.moveaxis(array.reshape(array.shape[0], -1, size, *array.shape[2:]), 1, 0)

    def joined(parts: Array) -> Array:
        parts = jnp.moveaxis(parts, 0, 1)
        return parts.reshape(parts.shape[0], -1, *parts.shape[3:])[:, :tokens]

    again = jax.checkpoint(lambda some: function(*some), prevent_cse=False)
    return tuple(map(joined, jax.lax.map(again, tuple(map(cut, arrays)))))
