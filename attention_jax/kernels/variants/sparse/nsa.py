"""Native sparse attention, NSA: Yuan et al. 2025, section 3.

out_i = sum over three branches of a gate times softmax attention to keys of that branch (equation 5):

- compressed (equation 7): blocks of `length` tokens, a new one each `stride`, each made one key and one value by a
  learned phi with the places inside the block; seen once the last token of the block is.
- selected (equations 8 to 12): the keys of `selected` blocks of `block` tokens. A block's importance is the weight that
  the compressed keys in it have, summed over the query heads of a key head, which choose together. The first block, the
  query's own, causal inside, and the one before it are always chosen, and count. The choice has no gradient.
- window (section 3.3.3): the last `window` keys.

Equation 9, p_slc[j] = sum_m sum_n p_cmp[(block/stride) j - m - n], m < block/stride, n < length/stride, counts blocks
and compressed keys from 1; from 0 that is p_cmp[(block/stride) j + m - n], the compressed keys that overlap with block
j, each as often as strides of it lie there. The paper has keys and values of their own for each branch, which is a
matter of the projections; here the three share one. It does not say what phi is beyond an MLP: here it is a layer over
all channels of the block, SiLU, and another layer, for each key head. Rows before the first compressed key have 0 of
that branch.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Declared, Params, PerToken, normal
from attention_jax.kernels.block_choice import Choose, Ordered, attend_chosen, highest, in_order
from attention_jax.kernels.composition import Composition, Solve, on_other_tokens, past_nan
from attention_jax.kernels.mask import Causal, Window
from attention_jax.kernels.mask_algebra import Mask
from attention_jax.kernels.mechanism import SoftmaxScore, statistics_dtype, to_statistics
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.softmax import masked_softmax

# The blocks that are always chosen: one at the start, and the query's own with the one before it.
FIRST, LOCAL = 1, 2


@register(
    source=Source(
        "Native Sparse Attention: Hardware-Aligned and Natively Trainable Sparse Attention",
        "section 3",
        authors="Yuan, Jingyang and Gao, Huazuo and Dai, Damai and Luo, Junyu and Zhao, Liang and Zhang, Zhengyan and "
        "Xie, Zhenda and Wei, Y. X. and Wang, Lean and Xiao, Zhiping and Wang, Yuqing and Ruan, Chong and Zhang, Ming "
        "and Liang, Wenfeng and Zeng, Wangding",
        year=2025,
        venue="ACL 2025",
        arxiv="2502.11089",
    ),
    claims=Claims(
        bidirectional=False,
        cross=False,
        bias=False,
        dropout=False,
        weights=False,
        lse=False,
        heads_apart=False,
        masks=("Causal", "Padding"),
        tried="nsa:length=2,stride=1,block=1,selected=4,window=2",
    ),
    aliases=("native_sparse_attention",),
)
def nsa(*, length: int = 32, stride: int = 16, block: int = 64, selected: int = 16, window: int = 512) -> Composition:
    """Causal attention to compressed blocks of keys, to the keys of chosen blocks, and to those near by, by gates.

    The gates are per_token arrays of each query head, sigmoid of [compressed, selected, window].

    Args:
      length: the paper's l, tokens in a compressed block.
      stride: the paper's d, tokens from one compressed block to the next.
      block: the paper's l', tokens in a block that is chosen.
      selected: the paper's n, how many blocks are chosen, three of them always.
      window: the paper's w, how many keys near by, the query's own among them.

    Raises:
      Refused: an option is too small, or `stride` divides not both lengths.
    """
    least = {"length": (length, 1), "stride": (stride, 1), "block": (block, 1), "window": (window, 1)}
    least["selected"] = (selected, FIRST + LOCAL)
    for name, (number, lowest) in least.items():
        if number < lowest:
            raise Refused(f"nsa:{name}={number} must be a whole number of at least {lowest}.")
    for name, number in (("length", length), ("block", block)):
        if number % stride:
            raise Refused(f"nsa:stride={stride} does not divide {name}={number}: give a divisor of it.")

    def run(problem: Problem, solve: Solve) -> AttentionOutput:
        tokens = in_order(problem)
        places = jnp.arange(tokens.key.shape[1], dtype=tokens.last.dtype)

        def attended(name: str, key: Array, value: Array, ends: Int[Array, " s"], mask: Mask) -> Array:
            of_branch = {"query": tokens.query, "key": key, "value": value}
            positions = (tokens.last, ends[None])
            part = on_other_tokens(
                problem, SoftmaxScore(scale=None), name=name, mask=mask, positions=positions, **of_branch
            )
            return solve(part).out

        key, value = (
            _compressed(array, problem.params, name, length=length, stride=stride)
            for name, array in (("key", tokens.key), ("value", tokens.value))
        )
        key = key.astype(tokens.key.dtype)
        ends = jnp.arange(key.shape[1], dtype=places.dtype) * stride + length - 1
        choose = _chooser(tokens, key, ends, sizes=(length // stride, block // stride, block), selected=selected)
        sizes = {"block": block, "count": selected, "scored": key.shape[1]}
        branches = (
            attended("compressed", key, value, ends, Causal()),
            attend_chosen(problem, solve, tokens, choose, **sizes, name="selected").out,
            attended("window", tokens.key, tokens.value, places, Causal() & Window(window)),
        )
        gates = jax.nn.sigmoid(to_statistics(problem.given.per_token["gates"]))
        out = sum(gates[..., n, None] * to_statistics(branch) for n, branch in enumerate(branches))
        return AttentionOutput(out=jnp.asarray(out, problem.query.dtype))

    gates = PerToken(("N", FIRST + LOCAL), of="query")
    return Composition(run=past_nan(run), arrays=_arrays(length), per_token={"gates": gates})


def _arrays(length: int) -> dict[str, Declared]:
    """phi of keys and of values, whose hidden layer is as wide as they are."""
    return {
        f"{name}_{part}": declared
        for name, width in (("key", "J"), ("value", "Hv"))
        for part, declared in (
            ("place", normal("K", length, width)),
            ("in", normal("K", length, width, width, fan_in=(-3, -2))),
            ("out", normal("K", width, width)),
        )
    }


def _compressed(
    array: Float[Array, "B S K J"], params: Params, name: str, *, length: int, stride: int
) -> Float[Array, "B c K J"]:
    """Each block made one token; at least one block, filled up with 0, which nobody sees where it is not whole."""
    dtype = statistics_dtype(array.dtype)
    place, inner, outer = (params[f"{name}_{part}"].astype(dtype) for part in ("place", "in", "out"))
    tokens = jnp.pad(array, ((0, 0), (0, max(0, length - array.shape[1])), (0, 0), (0, 0))).astype(dtype)
    first = jnp.arange((tokens.shape[1] - length) // stride + 1) * stride
    blocks = tokens[:, first[:, None] + jnp.arange(length)[None]] + place.swapaxes(0, 1)[None, None]
    hidden = jax.nn.silu(jnp.einsum("bclkj,kljh->bckh", blocks, inner))
    return jnp.einsum("bckh,khj->bckj", hidden, outer)


def _chooser(
    tokens: Ordered, key: Float[Array, "B c K J"], ends: Int[Array, " c"], *, sizes: tuple[int, int, int], selected: int
) -> Choose:
    in_length, in_block, block = sizes
    compressed = to_statistics(jax.lax.stop_gradient(key))
    blocks = -(-tokens.key.shape[1] // block)

    def choose(query: Float[Array, "B t N H"], last: Int[Array, "B t"]) -> Int[Array, "B K 1 t k"]:
        batch, some, _, width = query.shape
        by_group = to_statistics(jax.lax.stop_gradient(query)).reshape(batch, some, compressed.shape[2], -1, width)
        logits = jnp.einsum("btkgh,bckh->bkgtc", by_group, compressed) * width**-0.5
        seen = ends[None, None, None, None] <= last[:, None, None, :, None]
        weight = masked_softmax(logits, seen).sum(2, keepdims=True)
        importance = _of_blocks(weight, in_length, in_block, blocks)
        own = last[:, None, None, :, None] // block
        number = jnp.arange(blocks, dtype=own.dtype).reshape(1, 1, 1, 1, -1)
        always = (number < FIRST) | (number > own - LOCAL)
        return highest(jnp.where(always, jnp.inf, importance), number <= own, selected)

    return choose


def _of_blocks(weight: Float[Array, "*a c"], in_length: int, in_block: int, blocks: int) -> Float[Array, "*a blocks"]:
    """Equation 9: sum over m < in_block and n < in_length of the weight of compressed key in_block j + m - n."""
    more = max(0, blocks * in_block - weight.shape[-1])
    padded = jnp.pad(weight, [(0, 0)] * (weight.ndim - 1) + [(in_length - 1, more)])
    shifted = (padded[..., in_length - 1 - n :][..., : blocks * in_block] for n in range(in_length))
    return sum(shifted, start=jnp.zeros((), weight.dtype)).reshape(*weight.shape[:-1], blocks, in_block).sum(-1)
