"""P_w softmax(P_l z): Shazeer et al. 2020, section 3: heads mix their logits before the softmax, their weights after.

Of a key that one head sees and another does not, the one that does not gives a logit of 0 and takes no weight. Both
mixtures start as the identity, which is scaled dot-product attention.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from attention_jax.kernels.arrays import Declared, Params, Sizes
from attention_jax.kernels.mechanism import Given, Rows, RowScore
from attention_jax.kernels.registry import Claims, Limit, Source, register
from attention_jax.kernels.softmax import masked_softmax


def _normalise(rows: Rows, given: Given) -> tuple[Float[Array, "B N t S"], None]:
    logits = _mixed(jnp.where(rows.visible, rows.logits, 0), given.params["logits"])
    return _mixed(masked_softmax(logits, rows.visible), given.params["weights"]), None


def _mixed(array: Float[Array, "B N t S"], mixture: Float[Array, "N N"]) -> Float[Array, "B N t S"]:
    return jnp.einsum("bnts,nm->bmts", array, mixture.astype(array.dtype))


def _identity(rng: PRNGKeyArray, shape: tuple[int, ...], sizes: Sizes) -> Array:
    return jnp.eye(shape[0], dtype=jnp.float32)


def _apart(sizes: Sizes) -> Params:
    return {"logits": jnp.eye(sizes.heads), "weights": jnp.eye(sizes.heads)}


@register(
    source=Source(
        "Talking-Heads Attention",
        "section 3",
        authors="Shazeer, Noam and Lan, Zhenzhong and Cheng, Youlong and Ding, Nan and Hou, Le",
        year=2020,
        arxiv="2003.02436",
    ),
    claims=Claims(
        lse=False,
        convex=False,
        heads_apart=False,
        limits=(Limit("talking_heads", equals="scaled_dot", tolerance=2e-6, params=_apart),),
    ),
)
def talking_heads() -> RowScore:
    """Softmax of scaled dot products with a learned mixture over the heads before it and another one after."""
    mixture = Declared(("N", "N"), _identity)
    return RowScore(scale=None, normalise=_normalise, arrays={"logits": mixture, "weights": mixture})
