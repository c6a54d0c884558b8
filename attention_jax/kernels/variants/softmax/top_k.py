"""Softmax over the k largest logits of a query: Zhao et al. 2019, equations 4 to 6; Gupta et al. 2021.

Of equal logits at the edge the first in the array stay, so that k keys have weight and no more; the first paper's code
keeps all that equal the k-th. Where fewer are visible, all of them have weight.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.mechanism import Given, Rows, RowScore
from attention_jax.kernels.registry import Claims, Limit, Source, register
from attention_jax.kernels.softmax import masked_softmax


@register(
    source=Source(
        "Explicit Sparse Transformer: Concentrated Attention Through Explicit Selection",
        "equations 4 to 6",
        authors="Zhao, Guangxiang and Lin, Junyang and Zhang, Zhiyuan and Ren, Xuancheng and Su, Qi and Sun, Xu",
        year=2019,
        arxiv="1912.11637",
    ),
    claims=Claims(
        lse=False,
        weighted="some",
        tried="top_k:k=3",
        fewest_keys=3,
        limits=(Limit("top_k:k=7", equals="scaled_dot", tolerance=2e-6),),
    ),
)
def top_k(*, k: int = 4) -> RowScore:
    """Softmax of scaled dot products over the k keys with the largest ones.

    Args:
      k: how many keys have weight; at most as many as there are.

    Raises:
      Refused: k is smaller than 1, or larger than the number of keys.
    """
    if k < 1:
        raise Refused(f"top_k has k={k}: at least 1 key has weight.")

    def normalise(rows: Rows, given: Given) -> tuple[Float[Array, "B N t S"], None]:
        logits, visible = rows.logits, rows.visible
        if k > logits.shape[-1]:
            raise Refused(f"top_k has k={k} and there are {logits.shape[-1]} keys: give at most that, or scaled_dot.")
        seen = jnp.where(visible, logits, -jnp.inf)
        _, places = jax.lax.top_k(jax.lax.stop_gradient(seen), k)
        chosen = visible & jnp.put_along_axis(jnp.zeros(logits.shape, bool), places, True, axis=-1, inplace=False)
        return masked_softmax(logits, chosen), None

    return RowScore(scale=None, normalise=normalise)
