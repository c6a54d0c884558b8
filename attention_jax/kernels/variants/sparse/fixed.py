"""Fixed attention: Child et al. 2019 (Sparse Transformer), section 4.3.

Positions lie in blocks of `block`. Under a causal mask a query sees its own block and the last `summaries` positions of
each block before it. As for `strided`, every head has both patterns.
"""

from dataclasses import dataclass

from jaxtyping import Array, Bool

from attention_jax.base.errors import Refused
from attention_jax.kernels.mask_algebra import Axis, Cover, Mask, Tiles, pytree
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Limit, Source, register


@pytree(meta=("block", "summaries"))
@dataclass(frozen=True)
class Summaries(Mask):
    """A query sees its own block, and the last `summaries` positions of every block."""

    block: int
    summaries: int

    @property
    def positional(self) -> bool:
        return True

    @property
    def blocks(self) -> tuple[int, int]:
        return self.block, self.summaries

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        same = (query.position // self.block)[:, :, None] == (key.position // self.block)[:, None, :]
        summary = key.position % self.block >= self.block - self.summaries
        return (same | summary[:, None, :])[:, None]

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        mine = query.lowest // self.block, query.highest // self.block
        theirs = key.lowest // self.block, key.highest // self.block
        overlap = (mine[0][:, :, None] <= theirs[1][:, None, :]) & (theirs[0][:, None, :] <= mine[1][:, :, None])
        within = (theirs[0] == theirs[1])[:, None, :]
        alone = (mine[0] == mine[1])[:, :, None]
        first = self.block - self.summaries
        some = (theirs[0] != theirs[1]) | (key.highest % self.block >= first)
        every = (theirs[0] == theirs[1]) & (key.lowest % self.block >= first)
        return (overlap | some[:, None, :])[:, None], ((overlap & within & alone) | every[:, None, :])[:, None]


@register(
    source=Source(
        "Generating Long Sequences with Sparse Transformers",
        "section 4.3, fixed",
        authors="Child, Rewon and Gray, Scott and Radford, Alec and Sutskever, Ilya",
        year=2019,
        arxiv="1904.10509",
    ),
    claims=Claims(
        limits=(Limit("fixed:block=3,summaries=3", equals="scaled_dot", tolerance=2e-6),),
        tried="fixed:block=3,summaries=1",
    ),
    aliases=("sparse_transformer_fixed",),
)
def fixed(*, block: int = 128, summaries: int = 16) -> SoftmaxScore:
    """Scaled dot-product attention to the query's own block and to the last positions of each block.

    Args:
      block: the paper's stride l, 128 or 256.
      summaries: the paper's c, 8, 16 or 32: how many positions stand for a block.

    Raises:
      Refused: `summaries` is not in [1, block].
    """
    if not 1 <= summaries <= block:
        raise Refused(f"fixed:summaries={summaries} is not within a block of {block}: give 1 to {block}.")
    return SoftmaxScore(scale=None, mask=Summaries(block, summaries))
