"""S_t = diag(f_t) S_{t-1} + (1 - f_t) v_t^T, out_t = S_t^T q_t: Qin et al. 2024 (HGRN2), section 3.2.

f_t = b + (1 - b) sigmoid(k_t), for each channel: what is written is what is forgotten, so that a key is the gate. The
bound b keeps the higher layers' memory long: in layer l it is the sum of the first l - 1 of softmax(bounds), over as
many layers as there are (HGRN: Qin et al. 2023, arXiv 2311.04823, equation 4). It is 0 in the first, and (l - 1) /
layers at the start. The papers learn one array for all layers; here each layer has its own. The recipe is that of
section 3.2 and of the authors' code: SiLU on q, and an RMS norm after, here of each head and there of all together.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Declared, Sizes, constant
from attention_jax.kernels.mechanism import Given, LinearRecurrence, to_statistics
from attention_jax.kernels.recipe import Recipe
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.variants.linear.gates import CLAIMS

# A share kept that is smaller than this is that of a bound of 0.
TINY = 1e-30


def _bound(given: Given, dtype: jnp.dtype) -> Float[Array, "1 1 K J"]:
    """The bound of this layer: `before` has 1 for the layers before it, and 0 for the others."""
    shares = jax.nn.softmax(given.params["bounds"].astype(dtype))
    return jnp.einsum("kjl,l->kj", shares, given.params["before"].astype(dtype))[None, None]


def _forgotten(key: Float[Array, "B S K J"], given: Given) -> Float[Array, "B S K J"]:
    """1 - f."""
    key = to_statistics(key)
    return (1 - _bound(given, key.dtype)) * jax.nn.sigmoid(-key)


def _log_decay(key: Float[Array, "B S K J"], given: Given) -> Float[Array, "B S K J"]:
    """log f, of 1 - f where f is near 1, and of its own logarithm where it is so small that it is not formed."""
    key = to_statistics(key)
    bound, forgotten = _bound(given, key.dtype), _forgotten(key, given)
    long = forgotten < 0.5
    kept = bound + (1 - bound) * jax.nn.sigmoid(key)
    tiny = kept < TINY
    short = jnp.where(tiny, jax.nn.log_sigmoid(key), jnp.log(jnp.where(tiny, 1, kept)))
    return jnp.where(long, jnp.log1p(-jnp.where(long, forgotten, 0)), short)


def _before(rng: PRNGKeyArray, shape: tuple[int, ...], sizes: Sizes) -> Array:
    if not 1 <= sizes.layer <= shape[0]:
        raise Refused(f"hgrn2:layers={shape[0]} has no layer {sizes.layer}: give as many layers as the model has.")
    return (jnp.arange(shape[0]) < sizes.layer - 1).astype(jnp.float32)


@register(
    source=Source(
        "HGRN2: Gated Linear RNNs with State Expansion",
        "section 3.2",
        authors=(
            "Qin, Zhen and Yang, Songlin and Sun, Weixuan and Shen, Xuyang and Li, Dong and Sun, Weigao and "
            "Zhong, Yiran"
        ),
        year=2024,
        venue="COLM 2024",
        arxiv="2404.07904",
    ),
    claims=CLAIMS,
    recipe=Recipe(activated=("query",), head_norm="rms"),
)
def hgrn2(*, layers: int = 12) -> LinearRecurrence:
    """A linear recurrence that writes in each channel what it forgets there, less the higher the layer; no normaliser.

    Args:
      layers: how many the model has, over which the bound of what is kept grows from 0.

    Raises:
      Refused: there are fewer than 1, or fewer than the number of this layer.
    """
    if layers < 1:
        raise Refused(f"hgrn2 has layers={layers}: give as many layers as the model has.")
    return LinearRecurrence(
        arrays={
            "bounds": constant(0.0, "K", "J", layers),
            "before": Declared((layers,), _before, trained=False, by_layer=True),
        },
        prepare_key=_forgotten,
        log_decay=_log_decay,
    )
