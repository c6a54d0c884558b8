"""softmax(beta_n cos(q, k)) v: Liu et al. 2021 (Swin Transformer V2), equation 2; Graves et al. 2014, equation 6.

The temperature is learned per head and beta is at most 100, as in the paper (tau > 0.01). Vectors of any length but 0
have a direction here, so there is no epsilon; the authors' code takes max(norm, 1e-12).
"""

import math

import jax.numpy as jnp
from jaxtyping import Array

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import constant
from attention_jax.kernels.mechanism import Given, SoftmaxScore, unit
from attention_jax.kernels.registry import Claims, Limit, Source, register

LARGEST_BETA = 100.0


def _prepare_query(query: Array, given: Given) -> Array:
    beta = jnp.exp(jnp.minimum(given.params["log_beta"], jnp.log(LARGEST_BETA)))
    query = unit(query)
    return query * beta[None, None, :, None].astype(query.dtype)


def _prepare_key(key: Array, given: Given) -> Array:
    return unit(key)


@register(
    source=Source(
        "Swin Transformer V2: Scaling Up Capacity and Resolution",
        "equation 2",
        authors=(
            "Liu, Ze and Hu, Han and Lin, Yutong and Yao, Zhuliang and Xie, Zhenda and Wei, Yixuan and "
            "Ning, Jia and Cao, Yue and Zhang, Zheng and Dong, Li and Wei, Furu and Guo, Baining"
        ),
        year=2021,
        venue="CVPR 2022",
        arxiv="2111.09883",
    ),
    claims=Claims(
        limits=(
            Limit(
                "cosine",
                equals="scaled_dot:scale=3.0",
                tolerance=1e-5,
                unit_norm=True,
                params=lambda sizes: {"log_beta": jnp.full((sizes.heads,), jnp.log(3.0))},
            ),
        )
    ),
    aliases=("qk_norm",),
)
def cosine(*, beta: float = 10.0) -> SoftmaxScore:
    """Softmax of the cosine between query and key, times a learned factor for each head.

    Args:
      beta: what the factor starts from, in (0, 100].

    Raises:
      Refused: beta is outside that range.
    """
    if not 0 < beta <= LARGEST_BETA:
        raise Refused(f"cosine has beta={beta}: it starts in (0, {LARGEST_BETA:g}].")
    log_beta = constant(math.log(beta), "N")
    return SoftmaxScore(prepare_query=_prepare_query, prepare_key=_prepare_key, arrays={"log_beta": log_beta})
