# my_attention.py
import math

import jax.numpy as jnp

from attention_jax.kernels import Claims, SoftmaxScore, Source, constant, register


@register(source=Source("this file", "softmax(q . k / (temperature_n sqrt(H))) v"), claims=Claims())
def my_attention(*, temperature: float = 1.0) -> SoftmaxScore:
    """Scaled dot-product attention with a learned temperature for each head."""

    def sharpened(query, given):
        return query * (jnp.exp(-given.params["log_temperature"]) / jnp.sqrt(query.shape[-1]))[:, None]

    return SoftmaxScore(
        arrays={"log_temperature": constant(math.log(temperature), "N")},
        prepare_query=sharpened,
    )
