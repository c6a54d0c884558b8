"""Groups of vectors: the signs of random projections, and k-means among them by the number of bits that differ."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from attention_jax.kernels.mechanism import to_statistics


def signs(vectors: Float[Array, "B T N H"], planes: Float[Array, "bits H1"]) -> Float[Array, "B N T bits"]:
    """Returns on which side of each plane each vector lies, 1 or -1. The last column of the planes is their offset."""
    vectors = to_statistics(jax.lax.stop_gradient(vectors))
    planes = planes.astype(vectors.dtype)
    sides = jnp.einsum("btnh,ph->bntp", vectors, planes[:, :-1]) + planes[None, None, None, :, -1]
    return jnp.where(sides > 0, 1.0, -1.0).astype(vectors.dtype)


def clusters_of(
    codes: Float[Array, "B N T bits"], real: Bool[Array, "B T"], *, clusters: int, iterations: int
) -> Int[Array, "B N T"]:
    """Returns the number of the cluster that each code is in, found by Lloyd's iteration.

    It starts from codes evenly spaced among the real ones. A centre is the majority of the bits of its real members, 1
    where they are even; one without members stays where it is. Of equally near centres the first is taken.

    Args:
      codes: of 1 and -1.
      real: which of them count.
      clusters: how many there may be.
      iterations: how often the centres move.
    """
    counts = real.sum(-1, keepdims=True)
    among_real = jnp.arange(clusters)[None] * counts // clusters
    # The real ones first, each in its place.
    places = jnp.take_along_axis(jnp.argsort(~real, axis=-1, stable=True), among_real, axis=-1)
    start = jnp.take_along_axis(codes, places[:, None, :, None], axis=2)

    def nearest(centres: Float[Array, "B N C bits"]) -> Int[Array, "B N T"]:
        # Bits that agree less those that differ.
        return jnp.einsum("bntp,bncp->bntc", codes, centres).argmax(-1)

    def moved(centres: Float[Array, "B N C bits"]) -> Float[Array, "B N C bits"]:
        members = membership(nearest(centres), real, clusters, codes.dtype)
        sums = jnp.einsum("bntc,bntp->bncp", members, codes)
        some = members.sum(2)[..., None] > 0
        return jnp.where(some, jnp.where(sums >= 0, 1.0, -1.0).astype(codes.dtype), centres)

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        moves, before, centres = state
        return (moves < iterations) & (before != centres).any()

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        moves, _, centres = state
        return moves + 1, centres, moved(centres)

    # Codes are 1 or -1, so that the first step is taken; where no centre has moved none will.
    _, _, centres = jax.lax.while_loop(unfinished, step, (jnp.int32(0), jnp.zeros_like(start), start))
    return nearest(centres)


def membership(
    number: Int[Array, "B N T"], real: Bool[Array, "B T"], clusters: int, dtype: jnp.dtype
) -> Float[Array, "B N T C"]:
    """Returns 1 where a real token is in a cluster, 0 elsewhere."""
    return jax.nn.one_hot(number, clusters, dtype=dtype) * real[:, None, :, None].astype(dtype)
