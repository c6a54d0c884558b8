"""Attention to near, global and random blocks: Zaheer et al. 2020 (BigBird), section 2 and appendix D.

The internal construction: the first and the last block see all and are seen by all, every other block sees itself, its
two neighbours, and `random` blocks more. They are drawn among those that the rule has not chosen already, so that none
counts twice; where fewer are left than `random`, the block sees all. The published code draws neighbours of the second
block and of the last but one again, and for some lengths draws among the first 1024 tokens alone; in transformers they
are all the first block in evaluation, which then counts 1 + r times.

The paper is of encoders: its decoders see all that came before. The last block is known at the end alone.
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Sizes
from attention_jax.kernels.mask_algebra import Axis, Cover, Mask, Tiles, pytree
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Limit, Source, register


@functools.lru_cache(maxsize=64)
def random_blocks(count: int, random: int, seed: int) -> Int[np.ndarray, "n r"]:
    """Returns the random ones of `count` blocks of keys that each block of queries sees.

    Where fewer are left than `random`, others that it sees already fill the row.
    """
    place = np.arange(count)
    seen = np.abs(place[:, None] - place[None]) <= 1
    seen[[0, -1]] = seen[:, [0, -1]] = True
    # Each pair has a number, and a block takes its lowest. The bits of a generator stay the same in every version of
    # NumPy, and with them a trained model; its permutations may not.
    lots = np.random.Philox(key=seed).random_raw(count * count).reshape(count, count)
    lots[seen] = np.iinfo(lots.dtype).max
    return np.argpartition(lots, min(random, count - 1), axis=1)[:, :random].astype(np.int32)


@pytree(data=("picked",), meta=("block", "count"))
@dataclass(frozen=True, eq=False)
class NearGlobalRandom(Mask):
    """Blocks see themselves, their neighbours and those picked for them; the first and the last see all and are seen.

    Attributes:
      picked: int [count, r].
      block: tokens in a block.
      count: how many blocks there are.
    """

    picked: Any
    block: int
    count: int

    @property
    def blocks(self) -> tuple[int, int]:
        return self.block, self.block

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        mine, theirs = query.index[:, None] // self.block, key.index[None] // self.block
        seen = (jnp.abs(mine - theirs) <= 1) | self._is_global(mine) | self._is_global(theirs)
        picked = jnp.asarray(self.picked)[mine[:, 0]]
        for number in range(picked.shape[1]):
            seen |= picked[:, number, None] == theirs
        return seen[None, None]

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        top, bottom = query.first[:, None] // self.block, query.last[:, None] // self.block
        left, right = key.first[None] // self.block, key.last[None] // self.block
        # XLA would fold this while it compiles, a number at a time.
        picked = jax.lax.optimization_barrier(jnp.asarray(self.picked))
        rows = jnp.minimum(top + jnp.arange(query.size // self.block + 2)[None], bottom)
        of_tile = picked[rows].reshape(len(rows), -1, 1)
        some = ((of_tile >= left[None]) & (of_tile <= right[None])).any(1)
        some |= (left - 1 <= bottom) & (top <= right + 1)
        some |= self._reaches_global(top, bottom) | self._reaches_global(left, right)
        every = (jnp.maximum(bottom - left, right - top) <= 1) | ((top == bottom) & (left == right) & some)
        return some[None, None], every[None, None]

    def _is_global(self, block: Array) -> Array:
        return (block == 0) | (block == self.count - 1)

    def _reaches_global(self, first: Array, last: Array) -> Array:
        return (first == 0) | (last == self.count - 1)


@register(
    source=Source(
        "Big Bird: Transformers for Longer Sequences",
        "section 2 and appendix D",
        authors="Zaheer, Manzil and Guruganesh, Guru and Dubey, Avinava and Ainslie, Joshua and Alberti, Chris and "
        "Ontanon, Santiago and Pham, Philip and Ravula, Anirudh and Wang, Qifan and Yang, Li and Ahmed, Amr",
        year=2020,
        venue="NeurIPS 2020",
        arxiv="2007.14062",
    ),
    claims=Claims(
        causal="no",
        cross=False,
        order_free=False,
        limits=(Limit("bigbird:block=1,random=7", equals="scaled_dot", tolerance=2e-6),),
        tried="bigbird:block=1,random=1",
    ),
)
def bigbird(*, block: int = 64, random: int = 3, seed: int = 0) -> SoftmaxScore:
    """Scaled dot-product attention to blocks of keys: near, global and random ones.

    Args:
      block: tokens in a block; it divides the length.
      random: how many blocks more a block sees.
      seed: of the random blocks; layers with seeds of their own see other ones.

    Raises:
      Refused: the block is smaller than 1, or another option is negative.
    """
    if block < 1 or random < 0 or seed < 0:
        raise Refused(
            f"bigbird:block={block},random={random},seed={seed} chooses no blocks: give block >= 1, the others >= 0."
        )

    def mask(sizes: Sizes) -> Mask:
        if sizes.length is None or sizes.length % block:
            raise Refused(
                f"bigbird:block={block} does not divide a sequence of {sizes.length} tokens: give a block that does, "
                "or pad the tokens to a multiple, hidden by mask=Padding(lengths)."
            )
        count = sizes.length // block
        return NearGlobalRandom(random_blocks(count, random, seed), block, count)

    return SoftmaxScore(scale=None, mask=mask)
