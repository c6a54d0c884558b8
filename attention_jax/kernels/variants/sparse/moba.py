"""Mixture of block attention, MoBA: Lu et al. 2025, section 2.2.

The keys are cut into blocks. A query scores each block by its product with the mean of the block's keys (equation 6),
and sees the `top_k` blocks of the highest scores, by one softmax over all their keys (equations 2 and 5). Its own block
is always one of them, causal inside; a block after it never is. So each mean is of a block that is whole and past, and
nothing of the future reaches the choice. The choice has no gradient: scores serve the ranking alone.

The paper's text may be read as `top_k` blocks beside the query's own; here as in the published code the own block
counts as one of them. Where fewer blocks are past, there are fewer.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.block_choice import attend_chosen, highest, in_blocks, in_order
from attention_jax.kernels.composition import Composition, Solve, past_nan
from attention_jax.kernels.mechanism import to_statistics
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.registry import Claims, Limit, Source, register


@register(
    source=Source(
        "MoBA: Mixture of Block Attention for Long-Context LLMs",
        "section 2.2",
        authors="Lu, Enzhe and Jiang, Zhejun and Liu, Jingyuan and Du, Yulun and Jiang, Tao and Hong, Chao and Liu, "
        "Shaowei and He, Weiran and Yuan, Enming and Wang, Yuzhi and Huang, Zhiqi and Yuan, Huan and Xu, Suting and "
        "Xu, Xinran and Lai, Guokun and Chen, Yanru and Zheng, Huabin and Yan, Junjie and Su, Jianlin and Wu, Yuxin "
        "and Zhang, Neo Y. and Yang, Zhilin and Zhou, Xinyu and Zhang, Mingxing and Qiu, Jiezhong",
        year=2025,
        arxiv="2502.13189",
    ),
    claims=Claims(
        bidirectional=False,
        bias=False,
        dropout=False,
        weights=False,
        weighted="some",
        convex=True,
        masks=("Causal", "Padding"),
        limits=(Limit("moba:block=2,top_k=4", equals="scaled_dot", tolerance=2e-6),),
        tried="moba:block=2,top_k=2",
    ),
    aliases=("mixture_of_block_attention",),
)
def moba(*, block: int = 512, top_k: int = 3) -> Composition:
    """Causal scaled dot-product attention to the blocks of keys whose means suit the query, and to its own.

    Args:
      block: keys in a block; 512 or more in the paper's experiments.
      top_k: how many blocks a query sees, its own among them.

    Raises:
      Refused: an option is smaller than 1.
    """
    for name, number in (("block", block), ("top_k", top_k)):
        if number < 1:
            raise Refused(f"moba:{name}={number} must be a whole number of at least 1: the paper has 512 and 3.")

    def run(problem: Problem, solve: Solve) -> AttentionOutput:
        tokens = in_order(problem)
        means = in_blocks(to_statistics(jax.lax.stop_gradient(tokens.key)), block).mean(3)

        def choose(query: Float[Array, "B t N H"], last: Int[Array, "B t"]) -> Int[Array, "B K g t k"]:
            batch, some, _, width = query.shape
            kv_heads, blocks = means.shape[1:3]
            by_group = to_statistics(jax.lax.stop_gradient(query)).reshape(batch, some, kv_heads, -1, width)
            scores = jnp.einsum("btkgh,bkch->bkgtc", by_group, means)
            own = last[:, None, None, :, None] // block
            number = jnp.arange(blocks, dtype=own.dtype).reshape(1, 1, 1, 1, -1)
            return highest(jnp.where(number == own, jnp.inf, scores), number <= own, top_k)

        sizes = {"block": block, "count": top_k, "scored": means.shape[2]}
        return attend_chosen(problem, solve, tokens, choose, **sizes, name="the blocks chosen")

    return Composition(run=past_nan(run))
