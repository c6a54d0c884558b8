"""Which rows see a token that is not finite: the rule that who sees NaN is NaN, and who does not is untouched."""

from functools import partial, reduce
from operator import and_, or_

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.kernels.mask_algebra import Axis, Mask
from attention_jax.kernels.mechanism import to_statistics
from attention_jax.kernels.problem import Problem

# How many pairs are looked at together.
PAIRS = 2**20
# No products of numbers below this overflow, however wide the vectors.
LARGE = 2.0**60


def finite(array: Array) -> Array:
    """Returns the array with 0 for what is NaN or infinite."""
    return jnp.where(jnp.isfinite(array), array, 0)


def poisoned_rows(problem: Problem, unusual: Bool[Array, ""] | None = None) -> Bool[Array, "B N T"]:
    """Returns which queries of a problem see, or are, a token that holds NaN or infinity, in any head that matters.

    Args:
      problem: the problem.
      unusual: what `extreme` says of it, where that is known.
    """
    batch, queries, heads, _ = problem.query.shape

    def look() -> Bool[Array, "B N T"]:
        poisoned = rows_that_see(*bad_tokens(problem), problem.mask, problem.query_axis, problem.key_axis)
        if problem.variant.claims.heads_apart:
            return poisoned
        return jnp.broadcast_to(poisoned.any(1, keepdims=True), poisoned.shape)

    unusual = extreme(problem) if unusual is None else unusual
    return jax.lax.cond(unusual, look, lambda: jnp.zeros((batch, heads, queries), bool))


def extreme(problem: Problem) -> Bool[Array, ""]:
    """Returns whether any number of the problem's tokens is NaN, infinite, or so large that products may overflow."""
    sums: dict[tuple[int, ...], Array] = {}
    for array in (problem.query, problem.key, problem.value, *problem.per_token.values()):
        # Arrays of one shape are added first, and the halves of halves of what they give: element by element, since on
        # a CPU XLA adds a whole array up one number after the other. No axis that devices may share is cut.
        magnitudes = to_statistics(jnp.abs(jax.lax.stop_gradient(array))).reshape(*array.shape[:2], -1)
        sums[magnitudes.shape] = sums[magnitudes.shape] + magnitudes if magnitudes.shape in sums else magnitudes
    return ~(jnp.stack([_halved(array).sum() for array in sums.values()]).sum() < LARGE)


def _halved(array: Float[Array, "B T x"], times: int = 3) -> Float[Array, "B t x"]:
    """The array, its later tokens added to its earlier ones, so many times, as far as they can be halved."""
    half, odd = divmod(array.shape[1], 2)
    return array if times == 0 or odd or not half else _halved(array[:, :half] + array[:, half:], times - 1)


def bad_tokens(problem: Problem) -> tuple[Bool[Array, "B T N"], Bool[Array, "B S K"]]:
    """Returns which queries, and which keys with their values, hold NaN or infinity in any array that is of them."""
    query, key = nonfinite(problem.query), nonfinite(problem.key, problem.value)
    for name, array in problem.per_token.items():
        declared = problem.variant.mechanism.per_token[name]
        bad = ~jnp.isfinite(array)
        bad = bad.any(range(3 if declared.by_head else 2, bad.ndim))
        # Of one key head: of each query head that it serves. Of no head: of all.
        if not declared.by_head:
            bad = bad[..., None]
        if declared.of == "query":
            query = query | jnp.repeat(bad, query.shape[2] // bad.shape[2], axis=2)
        elif bad.shape[2] > key.shape[2]:
            key = key | bad.reshape(*key.shape, -1).any(-1)
        else:
            key = key | bad
    return query, key


def rows_that_see(
    query: Bool[Array, "B T N"], key: Bool[Array, "B S K"], mask: Mask | None, query_axis: Axis, key_axis: Axis
) -> Bool[Array, "B N T"]:
    """Returns which queries see, or are, a token that is not finite.

    Pairs are looked at only when there is such a token.

    Args:
      query: which queries are not finite.
      key: which keys, or their values, are not.
      mask: who may see whom.
      query_axis: all queries.
      key_axis: all keys.
    """
    batch, queries, heads = query.shape
    as_given = query, key
    key = jnp.repeat(key, heads // key.shape[2], axis=2).transpose(0, 2, 1)
    query = query.transpose(0, 2, 1)
    if mask is None:
        return query | key.any(-1, keepdims=True)
    size = min(max(1, PAIRS // (batch * heads * key.shape[-1])), queries)
    cut = partial(jax.lax.dynamic_slice_in_dim, slice_size=size, allow_negative_indices=False)

    def look(number: Array, seen: Bool[Array, "B N T"]) -> Bool[Array, "B N T"]:
        start = jnp.minimum(number * size, queries - size)
        some = Axis(cut(query_axis.index, start), cut(query_axis.position, start, axis=1))
        bad = cut(query, start, axis=2)[..., None] | key[:, :, None]
        seen_here = _any(mask.visible(some, key_axis) & bad)
        return jax.lax.dynamic_update_slice_in_dim(seen, seen_here, start, axis=2, allow_negative_indices=False)

    there = reduce(or_, (_any(array.ravel()) for array in as_given))
    nowhere = jnp.zeros((batch, heads, queries), bool)
    return jax.lax.cond(there, lambda: jax.lax.fori_loop(0, -(-queries // size), look, nowhere), lambda: nowhere)


def _any(array: Bool[Array, "*t s"]) -> Bool[Array, "*t"]:
    """What `array.any(-1)` gives, with less to compile: only of floats does XLA on a CPU reduce in one loop."""
    return array.astype(jnp.float32).max(-1) > 0


def nonfinite(*arrays: Float[Array, "*b _"]) -> Bool[Array, "*b"]:
    """Returns which vectors hold NaN or infinity in any of the arrays."""
    # Not the largest magnitude: under jit on a CPU a maximum passes over NaN.
    return ~reduce(and_, (jnp.isfinite(array).all(-1) for array in arrays))


def without_nonfinite(array: Float[Array, "B S K H"]) -> tuple[Float[Array, "B S K H"], Bool[Array, "B S K"]]:
    """Returns the array with 0 for what is NaN or infinite, and which tokens held such.

    0 times NaN is NaN, so a hidden token would poison every sum and every gradient it is multiplied out of; the engines
    compute with the cleaned arrays and put NaN back where a query does see such a token.
    """
    return finite(array), nonfinite(array)
