"""FAVOR+: Choromanski et al. 2020, "Rethinking Attention with Performers", lemma 1 and section 2.4.

phi(x) = exp(w_m . x - |x|^2 / 2) / sqrt(M) with x = q / H^(1/4), and the w_m orthogonal in blocks of H with norms drawn
from chi(H): an unbiased estimate of exp(q . k / sqrt(H)).

Two departures from the authors' code: it subtracts from the keys' exponents their maximum over time, which under a
causal mask leaks the future, and adds 1e-4 to the features, which swamps them at width 64 and unit variance (the result
is uniform attention). Here each token's own maximum is taken out and carried exactly, and nothing is added.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from attention_jax.kernels.errors import Refused
from attention_jax.kernels.mechanism import FeatureMap, Features, Params, Widths, to_statistics
from attention_jax.kernels.registry import Claims, Limit, Source, register


def orthogonal_projection(rng: PRNGKeyArray, *, features: int, width: int) -> Array:
    """Returns [features, width]: Gaussian rows, orthogonal within each block of `width` (section 2.4)."""
    blocks = -(-features // width)
    for_directions, for_norms = jax.random.split(rng)
    gaussians = jax.random.normal(for_directions, (blocks, width, width))
    orthogonal, triangular = jnp.linalg.qr(gaussians)
    # QR fixes the sign of each column by its first entries; uniform directions (without which the estimate is biased)
    # need the sign of the diagonal given back (Mezzadri 2006, section 4).
    orthogonal = orthogonal * jnp.sign(jnp.diagonal(triangular, axis1=-2, axis2=-1))[:, None]
    directions = orthogonal.transpose(0, 2, 1).reshape(blocks * width, width)[:features]
    norms = jnp.linalg.norm(jax.random.normal(for_norms, (features, width)), axis=-1, keepdims=True)
    return directions * norms


def _features(array: Array, params: Params) -> Features:
    array = to_statistics(array) * array.shape[-1] ** -0.25
    projection = jax.lax.stop_gradient(params["projection"]).astype(array.dtype)
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
        "Choromanski et al. 2020, Rethinking Attention with Performers", "lemma 1, section 2.4", arxiv="2009.14794"
    ),
    claims=Claims(
        bias=False,
        dropout=False,
        weights=False,
        lse=False,
        state=True,
        limits=(Limit("performer:features=16384", equals="scaled_dot", tolerance=0.1, input_scale=0.25),),
    ),
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

    def draw(rng: PRNGKeyArray, widths: Widths) -> Params:
        count = features or math.ceil(widths.query * math.log(max(widths.query, 2)))
        return {"projection": orthogonal_projection(rng, features=count, width=widths.query)}

    return FeatureMap(query_features=_features, key_features=_features, draw=draw)
