"""Attention to near, global and random blocks: Zaheer et al. 2020 (BigBird), section 2 and appendix D.

The internal construction: the first and the last block see all and are seen by all, every other block sees itself, its
two neighbours, and `random` blocks more. They are drawn among those that the rule has not chosen already, so that none
counts twice; where fewer are left than `random`, the block sees all. The published code draws neighbours of the second
block and of the last but one again, and for some lengths draws among the first 1024 tokens alone.

The paper is of encoders: its decoders see all that came before. The last block is known at the end alone.
"""

import numpy as np
from jaxtyping import Bool

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Sizes
from attention_jax.kernels.mask import Blocks
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Limit, Source, register


def chosen_blocks(count: int, random: int, seed: int) -> Bool[np.ndarray, "n n"]:
    """Returns which of `count` blocks of keys each block of queries sees."""
    place = np.arange(count)
    chosen = np.abs(place[:, None] - place[None]) <= 1
    chosen[[0, -1]] = chosen[:, [0, -1]] = True
    # Each pair has a number, and a block takes its lowest. The bits of a generator stay the same in every version of
    # NumPy, and with them a trained model; its permutations may not.
    lots = np.random.Philox(key=seed).random_raw(count * count).reshape(count, count)
    lots[chosen] = np.iinfo(lots.dtype).max
    np.put_along_axis(chosen, np.argsort(lots, axis=1, kind="stable")[:, :random], values=True, axis=1)
    return chosen


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

    def mask(sizes: Sizes) -> Blocks:
        if sizes.length is None or sizes.length % block:
            raise Refused(
                f"bigbird:block={block} does not divide a sequence of {sizes.length} tokens: give a block that does, "
                "or pad the tokens to a multiple, hidden by mask=Padding(lengths)."
            )
        return Blocks(chosen_blocks(sizes.length // block, random, seed)[None, None], block, block)

    return SoftmaxScore(scale=None, mask=mask)
