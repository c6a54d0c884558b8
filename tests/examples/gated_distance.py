"""A score with a term of each pair and a gate of each key: z_ij = q_i . (sigmoid(g_j) k_j) / sqrt(H) - m_n |i - j|."""

import jax
import jax.numpy as jnp

from attention_jax.kernels import PER_HEAD, Claims, SoftmaxScore, Source, constant, distances, dot, register


def gated(key, given):
    """What is of one token alone is prepared once: the key times its gate, per_token [B, S, K] of `attend`."""
    return key * jax.nn.sigmoid(given.per_token["gate"])[..., None].astype(key.dtype)


def pairwise(query, key, given):
    """What is of the pair enters here. It is called on any block of queries and keys, whose places `given` tells."""
    products = dot(query, key, given) * query.shape[-1] ** -0.5
    slope = jax.nn.softplus(given.params["slope"]).astype(products.dtype)[None, :, None, None]
    return products - slope * jnp.abs(distances(given))[:, None].astype(products.dtype)


@register(source=Source("this file", "its first line"), claims=Claims())
def gated_distance(*, start: float = -2.0) -> SoftmaxScore:
    """Scaled dot products of gated keys, less a learned penalty on distance.

    Args:
      start: of the slope of each head, before softplus.
    """
    return SoftmaxScore(
        prepare_key=gated,
        pairwise=pairwise,
        arrays={"slope": constant(start, "N")},
        per_head=("slope",),
        per_token={"gate": PER_HEAD},
    )
