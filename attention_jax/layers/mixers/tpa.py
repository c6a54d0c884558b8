"""Tensor product attention: queries, keys and values of all heads are sums of few products. Zhang et al. 2025.

Q_t = 1/R_Q sum_r a^Q_r(x_t) (outer) b^Q_r(x_t), a of the heads and b of the channels, and so K_t and V_t with ranks of
their own: section 3.1, equations 3.1 to 3.4. Rope turns the factors of channels (section 3.2), so that the factors of
keys and values, turned, are all that is kept of a token: (R_K + R_V) (N + H) numbers.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.source import Source
from attention_jax.layers.attention import Mixed, Seen
from attention_jax.layers.heads import (
    attend_cached_heads,
    attend_heads,
    mask_of_layer,
    out_projection,
    positions_of,
    projection,
    turned,
)
from attention_jax.layers.mixer import MakeMixer, MixerClaims, register_mixer
from attention_jax.layers.stack_options import StackOptions


class TensorProductAttention(nn.Module):
    """Attention whose queries, keys and values are made of factors.

    Attributes:
      options: of the stack.
      layer: the number of the layer, from 1.
      query_rank: R_Q.
      key_rank: R_K.
      value_rank: R_V.
    """

    options: StackOptions
    layer: int = 1
    query_rank: int = 6
    key_rank: int = 2
    value_rank: int = 2

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "B T D"], seen: Seen, *, state: Any = None, deterministic: bool = True
    ) -> Mixed:
        """Returns what each token gathers, [B, T, D]: see `Attention`.

        Raises:
          Refused: the heads do not divide the width.
        """
        options, encoding = self.options, self.options.encoding_of(self.layer)
        heads, positions = options.num_heads, positions_of(seen.positions, inputs.shape[1])

        def factors(name: str, rank: int, *, turns: bool) -> Float[Array, "B T R NH"]:
            of_heads = projection(options, f"{name}_heads", (rank, heads), biased_as=name)(inputs)
            channels = projection(options, f"{name}_channels", (rank, options.heads_width), biased_as=name)(inputs)
            channels = turned(encoding, channels, positions) if turns and encoding is not None else channels
            return jnp.concatenate([of_heads, channels], axis=-1)

        def product(factors: Float[Array, "B T R NH"]) -> Float[Array, "B T N H"]:
            of_heads, channels = factors[..., :heads], factors[..., heads:]
            return jnp.einsum("btrn,btrh->btnh", of_heads, channels) / factors.shape[2]

        query = product(factors("query", self.query_rank, turns=True))
        key = factors("key", self.key_rank, turns=True)
        value = factors("value", self.value_rank, turns=False)
        mask, out = mask_of_layer(options, self.layer, seen.mask), out_projection(options, inputs.shape[-1])
        if state is None:
            key, value = product(key), product(value)
            result = attend_heads(self, options, query, key, value, mask=mask, deterministic=deterministic)
            return Mixed(out(result.out))

        def flat(factors: Float[Array, "B T R NH"]) -> Float[Array, "B T 1 RNH"]:
            return factors.reshape(*factors.shape[:2], 1, -1)

        def stands_for(keys: Array, values: Array) -> tuple[Array, Array]:
            of_keys, of_values = (*keys.shape[:2], self.key_rank, -1), (*values.shape[:2], self.value_rank, -1)
            return product(keys.reshape(of_keys)), product(values.reshape(of_values))

        key, value = flat(key), flat(value)
        result, state = attend_cached_heads(
            options, query, key, value, state, mask=mask, lengths=seen.lengths, stands_for=stands_for
        )
        return Mixed(out(result.out), state)


@register_mixer(
    source=Source(
        "Tensor Product Attention Is All You Need",
        "section 3, equations 3.1 to 3.4",
        authors="Zhang, Yifan and Liu, Yifeng and Yuan, Huizhuo and Qin, Zhen and Yuan, Yang and Gu, Quanquan and "
        "Yao, Andrew Chi-Chih",
        year=2025,
        arxiv="2501.06425",
    ),
    claims=MixerClaims(
        options=("head_width", "attention_dropout_rate", "engine", "window"),
        positions=("rope",),
        tried="tpa:query_rank=3,key_rank=2,value_rank=2",
    ),
    aliases=("tensor_product_attention",),
)
def tpa(*, query_rank: int = 6, key_rank: int = 2, value_rank: int = 2) -> MakeMixer:
    """Tensor product attention: queries, keys and values are sums of products of factors, which alone are cached.

    Args:
      query_rank: how many products a query is the mean of.
      key_rank: of a key.
      value_rank: of a value.

    Raises:
      Refused: a rank is smaller than 1.
    """
    for name, rank in (("query_rank", query_rank), ("key_rank", key_rank), ("value_rank", value_rank)):
        if rank < 1:
            raise Refused(f"tpa has {name}={rank}: give at least 1.")
    return partial(TensorProductAttention, query_rank=query_rank, key_rank=key_rank, value_rank=value_rank)
