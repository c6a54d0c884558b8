"""FAVOR+: Choromanski et al. 2020, "Rethinking Attention with Performers", lemma 1 and section 2.4.

phi(x) = exp(w_m . x - |x|^2 / 2) / sqrt(M) with x = q / H^(1/4), and the w_m orthogonal in blocks of H with norms drawn
from chi(H): an unbiased estimate of exp(q . k / sqrt(H)).

Two departures from the authors' code, and from performer-pytorch: these subtract from the keys' exponents their maximum
over time, which under a causal mask leaks the future, and add 1e-4 to the features, which swamps them at width 64 and
unit variance (the result is uniform attention). Here each token's own maximum is taken out and carried exactly, and
nothing is added.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Declared, Sizes
from attention_jax.kernels.mechanism import FeatureMap, Features, Given, to_statistics
from attention_jax.kernels.registry import Claims, Limit, Source, register


def orthogonal_projection(rng: PRNGKeyArray, shape: tuple[int, ...], sizes: Sizes) -> Float[Array, "features width"]:
    """Returns float32 [features, width]: Gaussian rows, orthogonal within each block of `width` (section 2.4)."""
    features, width = shape
    blocks = -(-features // width)
    for_directions, for_norms = jax.random.split(rng)
    directions = _orthonormal(jax.random.normal(for_directions, (blocks, width, width), jnp.float32))
    norms = jnp.linalg.norm(jax.random.normal(for_norms, (features, width), jnp.float32), axis=-1, keepdims=True)
    return directions.reshape(blocks * width, width)[:features] * norms


def _orthonormal(gaussians: Float[Array, "b H H"]) -> Float[Array, "b H H"]:
    """Returns the columns of each matrix as rows, each made orthogonal to those before it, and of length 1.

    Gram and Schmidt's steps, twice each, which makes the rows orthogonal to the last digit (Giraud et al. 2005). It is
    the Q of a QR factorisation whose R has a positive diagonal, which has uniform directions (Mezzadri 2006, section
    4), without LAPACK: a batch of its calls may wait for ever on as many CPU devices as cores (engines/triangular.py).
    """

    def add(number: Array, rows: Array) -> Array:
        row = jax.lax.dynamic_index_in_dim(gaussians, number, axis=-1, keepdims=False)
        for _ in range(2):
            row = row - jnp.einsum("bh,bnh,bnj->bj", row, rows, rows)
        return rows.at[:, number].set(row / jnp.linalg.norm(row, axis=-1, keepdims=True))

    return jax.lax.fori_loop(0, gaussians.shape[-1], add, jnp.zeros_like(gaussians))


def _usual_count(sizes: Sizes) -> int:
    return math.ceil(sizes.query * math.log(max(sizes.query, 2)))


def _features(array: Array, given: Given) -> Features:
    array = to_statistics(array) * array.shape[-1] ** -0.25
    projection = jax.lax.stop_gradient(given.params["projection"]).astype(array.dtype)
    exponent = jnp.einsum("btnh,mh->btnm", array, projection)
    highest = jax.lax.stop_gradient(exponent.max(-1, keepdims=True))
    # |x|^2 / 2 is in the scale, so that no difference to it is rounded; here stands only its derivative. It is kept
    # finite: a later token of any norm must not give NaN to an earlier row.
    half_square = jnp.minimum(jnp.sum(array**2, axis=-1, keepdims=True) / 2, jnp.finfo(array.dtype).max)
    fixed = jax.lax.stop_gradient(half_square)
    values = jnp.exp(exponent - highest - (half_square - fixed)) / math.sqrt(projection.shape[0])
    return Features(values=values, log_scale=(highest - fixed)[..., 0])


@register(
    source=Source(
        "Rethinking Attention with Performers",
        "lemma 1, section 2.4",
        authors=(
            "Choromanski, Krzysztof and Likhosherstov, Valerii and Dohan, David and Song, Xingyou and "
            "Gane, Andreea and Sarlos, Tamas and Hawkins, Peter and Davis, Jared and Mohiuddin, Afroz and "
            "Kaiser, Lukasz and Belanger, David and Colwell, Lucy and Weller, Adrian"
        ),
        year=2020,
        venue="ICLR 2021",
        arxiv="2009.14794",
    ),
    claims=Claims(
        bias=False,
        dropout=False,
        weights=False,
        lse=False,
        state=True,
        tried="performer:features=16",
        limits=(Limit("performer:features=16384", equals="scaled_dot", tolerance=0.1, input_scale=0.25),),
    ),
    aliases=("favor",),
)
def performer(*, features: int | None = None) -> FeatureMap:
    """Softmax attention with its exponential estimated from random features, which makes it linear.

    The error falls as 1 / sqrt(features) and grows exponentially with the squared norms of query and key.

    Args:
      features: how many, M; None is H log H, rounded up.

    Raises:
      Refused: features is smaller than 1.
    """
    if features is not None and features < 1:
        raise Refused(f"performer has features={features}: it needs at least 1.")
    projection = Declared((features or _usual_count, "H"), orthogonal_projection, trained=False)
    return FeatureMap(query_features=_features, key_features=_features, arrays={"projection": projection})
