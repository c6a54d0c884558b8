"""Softmax attention along the rows of a grid, along its columns, or both: Ho et al. 2019, section 3.1.

Each line is a sequence of its own, so that N tokens in a square cost N^1.5; where `columns` stays as it is, the columns
grow with N. The paper's layers attend along one axis each and take turns: along=rows and along=columns are those. Both
in one layer are summed, as the package axial-attention does it by default (there with projections for each axis, here
with the same): a token then reaches all others in two layers.

The grid is the call's, or rows of `columns` places, the last one perhaps short, filled by the tokens in their order in
the array. Under a causal mask a line sees its own past alone. What is before a token in neither its row nor its column
then reaches it through no number of layers of one order; the paper shifts rows and columns for that, in the model.
"""

from typing import get_args

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.kernels.arrays import Sizes
from attention_jax.kernels.composition import Composition, Solve, on_other_tokens
from attention_jax.kernels.folding import Along, Fold, Folded, Lines
from attention_jax.kernels.mask_algebra import Mask
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.registry import Claims, Limit, Source, register

AXES = get_args(Along)


def _along(problem: Problem, solve: Solve, columns: int, along: Along) -> AttentionOutput:
    batch, tokens, heads, _ = problem.query.shape
    fold = Fold(tokens, columns, along)
    assert problem.mask is not None
    positions = problem.query_axis.position, problem.key_axis.position
    mask = Folded(problem.mask, *positions, fold=fold, batch=batch, heads=heads, count=batch * fold.lines)
    query, key, value = (fold.folded(array) for array in (problem.query, problem.key, problem.value))
    score = SoftmaxScore(scale=None)
    part = on_other_tokens(problem, score, name=f"along {along}", query=query, key=key, value=value, mask=mask)
    return AttentionOutput(fold.unfolded(solve(part).out))


@register(
    source=Source(
        "Axial Attention in Multidimensional Transformers",
        "section 3.1",
        authors="Ho, Jonathan and Kalchbrenner, Nal and Weissenborn, Dirk and Salimans, Tim",
        year=2019,
        arxiv="1912.12180",
    ),
    claims=Claims(
        cross=False,
        bias=False,
        dropout=False,
        weights=False,
        lse=False,
        order_free=False,
        limits=(Limit("axial:columns=7,along=rows", equals="scaled_dot", tolerance=2e-6),),
        tried="axial:columns=3",
    ),
)
def axial(*, columns: int = 32, along: str = "both") -> Composition:
    """Scaled dot-product attention along the rows and the columns of the grid that the tokens lie in.

    Args:
      columns: how many places a row has, where the call gives no grid.
      along: rows, columns, or both: their sum.

    Raises:
      Refused: a row has no place, or there is no such axis.
    """
    if columns < 1:
        raise Refused(f"axial:columns={columns} leaves no place in a row: give at least 1.")
    if along not in (*AXES, "both"):
        raise Refused(f"axial:along={along} is none of rows, columns, both.{did_you_mean(along, (*AXES, 'both'))}")
    axes: tuple[Along, ...] = AXES if along == "both" else tuple(axis for axis in AXES if axis == along)

    def mask(sizes: Sizes) -> Mask:
        width = sizes.grid[1] if sizes.grid else columns
        first, *rest = (Lines(width, axis) for axis in axes)
        return first | rest[0] if rest else first

    def run(problem: Problem, solve: Solve) -> AttentionOutput:
        width = problem.grid[1] if problem.grid else columns
        first, *rest = (_along(problem, solve, width, axis).out for axis in axes)
        return AttentionOutput(first + rest[0] if rest else first)

    return Composition(run=run, mask=mask)
