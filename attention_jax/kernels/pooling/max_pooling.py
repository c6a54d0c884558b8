"""max over the real tokens, by channel: max-over-time pooling, Collobert et al. 2011, section 3.3.2. It has no weights.

Where several tokens share the maximum of a channel, they share its gradient.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.pool import Pooled, Pooling, PoolingClaims, PoolingGiven, register_pooling
from attention_jax.kernels.source import Source


def _pool(hidden: Float[Array, "B T D"], given: PoolingGiven) -> Pooled:
    real = given.visible[..., None]
    greatest = jnp.where(real, hidden, jnp.finfo(hidden.dtype).min).max(1)
    return Pooled(jnp.where(real.any(1), greatest, 0))


@register_pooling(
    source=Source(
        "Natural Language Processing (Almost) from Scratch",
        "section 3.3.2",
        authors="Collobert, Ronan and Weston, Jason and Bottou, Leon and Karlen, Michael and Kavukcuoglu, Koray and "
        "Kuksa, Pavel",
        year=2011,
        venue="JMLR 12",
        arxiv="1103.0398",
    ),
    claims=PoolingClaims(convex=False),
    aliases=("max_over_time",),
)
def max_pooling() -> Pooling:
    """The greatest of the real tokens, of each channel."""
    return Pooling(pool=_pool)
