"""Strided attention: Child et al. 2019 (Sparse Transformer), section 4.3.

Under a causal mask a query sees the `stride` positions before it and every position whose distance is a multiple of the
stride. The paper gives its two patterns to heads of their own, to layers in turn, or merges them (section 4.2, equation
6): here every head has both.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool

from attention_jax.base.errors import Refused
from attention_jax.kernels.mask import Window
from attention_jax.kernels.mask_algebra import Axis, Cover, Mask, Tiles, pytree
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Limit, Source, register


@pytree(meta=("stride",))
@dataclass(frozen=True)
class Strides(Mask):
    """A key is visible to the queries that are whole strides away, on either side."""

    stride: int

    @property
    def positional(self) -> bool:
        return True

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        mine, theirs = query.position % self.stride, key.position % self.stride
        return (mine[:, :, None] == theirs[:, None, :])[:, None]

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        # On the circle of remainders each tile is an arc: two arcs meet where one starts within the other.
        mine, my_length = query.lowest % self.stride, query.highest - query.lowest
        theirs, their_length = key.lowest % self.stride, key.highest - key.lowest
        ahead = (theirs[:, None, :] - mine[:, :, None]) % self.stride
        behind = (mine[:, :, None] - theirs[:, None, :]) % self.stride
        some = (ahead <= my_length[:, :, None]) | (behind <= their_length[:, None, :])
        # A difference that has overflowed is negative: such a tile reaches all remainders.
        some |= (my_length < 0)[:, :, None] | (their_length < 0)[:, None, :]
        return some[:, None], jnp.full_like(some, self.stride == 1)[:, None]


@register(
    source=Source(
        "Generating Long Sequences with Sparse Transformers",
        "section 4.3, strided",
        authors="Child, Rewon and Gray, Scott and Radford, Alec and Sutskever, Ilya",
        year=2019,
        arxiv="1904.10509",
    ),
    claims=Claims(
        limits=(Limit("strided:stride=1", equals="scaled_dot", tolerance=2e-6),),
        tried="strided:stride=3",
    ),
    aliases=("sparse_transformer_strided",),
)
def strided(*, stride: int = 128) -> SoftmaxScore:
    """Scaled dot-product attention to the last `stride` positions and to those at whole strides.

    Args:
      stride: near the root of the number of tokens, for the least work.

    Raises:
      Refused: the stride is smaller than 1.
    """
    if stride < 1:
        raise Refused(f"strided:stride={stride} goes nowhere: give at least 1.")
    return SoftmaxScore(scale=None, mask=Window(stride + 1) | Strides(stride))
