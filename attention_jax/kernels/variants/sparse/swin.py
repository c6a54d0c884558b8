"""Shifted windows: Liu et al. 2021 (Swin Transformer), section 3.2.

The grid is cut into windows of `window` x `window` tokens, and each token sees those of its own window. With a shift
the cuts lie `shift` rows and columns further, and the windows at the edges are smaller. The published code rolls the
grid and hides what the roll has joined; here the smaller windows are written down, which is the same attention. Where
the window does not divide the grid, the paper pads the far edges: here the windows there are smaller, and no padding is
seen (the detection code, and transformers with it, shows it to unshifted windows).

The paper alternates layers with shift=0 and shift=window // 2. It adds a bias by relative position, which is the
caller's `bias` or position encoding here.
"""

from dataclasses import dataclass

from jaxtyping import Array, Bool, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Sizes
from attention_jax.kernels.grid import Pair, check_window, spans, window_in
from attention_jax.kernels.mask_algebra import Axis, Cover, Mask, Tiles, pytree
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Limit, Source, register


@pytree(meta=("columns", "sides", "shift"))
@dataclass(frozen=True)
class Windows(Mask):
    """Tokens of a grid see those of their own window.

    Attributes:
      columns: tokens in a row of the grid.
      sides: rows and columns of a window.
      shift: how many rows and columns the first windows have; 0 where they are whole.
    """

    columns: int
    sides: Pair
    shift: Pair

    @property
    def blocks(self) -> tuple[int, int]:
        return self.sides[1], self.sides[1]

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        of_query, of_key = self._windows(query.index), self._windows(key.index)
        same = [mine[:, None] == theirs[None, :] for mine, theirs in zip(of_query, of_key, strict=True)]
        return (same[0] & same[1])[None, None]

    def cover(self, query: Tiles, key: Tiles) -> Cover:
        mine, theirs = spans(query, self.columns), spans(key, self.columns)
        rows = [self._number(edge, 0) for edge in (mine.top, mine.bottom, theirs.top, theirs.bottom)]
        columns = [self._number(edge, 1) for edge in (mine.left, mine.right, theirs.left, theirs.right)]
        overlaps = [(a[:, None] <= d[None]) & (c[None] <= b[:, None]) for a, b, c, d in (rows, columns)]
        within_one = [(a == b)[:, None] & (c == d)[None] for a, b, c, d in (rows, columns)]
        some, one = overlaps[0] & overlaps[1], within_one[0] & within_one[1]
        return some[None, None], (some & one)[None, None]

    def _windows(self, index: Int[Array, " t"]) -> tuple[Int[Array, " t"], Int[Array, " t"]]:
        return self._number(index // self.columns, 0), self._number(index % self.columns, 1)

    def _number(self, coordinate: Int[Array, " t"], axis: int) -> Int[Array, " t"]:
        return (coordinate + (self.sides[axis] - self.shift[axis]) % self.sides[axis]) // self.sides[axis]


@register(
    source=Source(
        "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows",
        "section 3.2",
        authors="Liu, Ze and Lin, Yutong and Cao, Yue and Hu, Han and Wei, Yixuan and Zhang, Zheng and Lin, Stephen "
        "and Guo, Baining",
        year=2021,
        venue="ICCV 2021",
        arxiv="2103.14030",
    ),
    claims=Claims(
        causal="no",
        cross=False,
        order_free=False,
        limits=(Limit("swin:window=7,dimensions=1", equals="scaled_dot", tolerance=2e-6),),
        tried="swin:window=3,shift=1,dimensions=1",
        fewest_keys=3,
    ),
)
def swin(*, window: int = 7, shift: int = 0, dimensions: int = 2) -> SoftmaxScore:
    """Scaled dot-product attention within windows of a grid.

    Args:
      window: rows and columns of a window.
      shift: how many rows and columns the cuts are moved by, fewer than `window`.
      dimensions: 2 for the grid that `attend` is given; 1 for windows of a sequence.

    Raises:
      Refused: the window is smaller than 1, or the shift is not within it.
    """
    check_window("swin", window, dimensions)
    if not 0 <= shift < window:
        raise Refused(f"swin:shift={shift} does not lie within a window of {window}: give 0 to {window - 1}.")

    def mask(sizes: Sizes) -> Mask:
        grid, sides = window_in(sizes, window, dimensions, owner="swin")
        return Windows(grid[1], sides, (shift if dimensions == 2 else 0, shift))

    return SoftmaxScore(scale=None, mask=mask)
