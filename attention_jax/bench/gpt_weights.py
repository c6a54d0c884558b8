"""The weights that everyone in a bench of a GPT starts from: their paths and shapes, and their numbers."""

import numpy as np


def gpt_shapes(
    *, layers: int, heads: int, width: int, vocabulary: int, length: int, biased: bool
) -> dict[str, tuple[int, ...]]:
    """Returns the shapes by path: projections to heads [D, N, H] and back [N, H, D], the other matrices [in, out].

    Args:
      layers: how many blocks.
      heads: N, a divisor of the width.
      width: D.
      vocabulary: V.
      length: the most tokens.
      biased: whether the matrices of the blocks have biases.
    """
    to_heads = (heads, width // heads)
    shapes: dict[str, tuple[int, ...]] = {"token/embedding": (vocabulary, width), "position/embedding": (length, width)}
    matrices: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
        **{f"attention/{name}": ((width,), to_heads) for name in ("query", "key", "value")},
        "attention/out": (to_heads, (width,)),
        "feed_forward/hidden": ((width,), (4 * width,)),
        "feed_forward/out": ((4 * width,), (width,)),
    }
    blocks = [f"block_{layer}" for layer in range(layers)]
    for block in blocks:
        for name, (inputs, outputs) in matrices.items():
            shapes[f"{block}/{name}/kernel"] = (*inputs, *outputs)
            if biased:
                shapes[f"{block}/{name}/bias"] = outputs
    norms = ["norm", *(f"{block}/{half}_norm" for block in blocks for half in ("attention", "feed_forward"))]
    return shapes | {f"{norm}/{name}": (width,) for norm in norms for name in ("scale", "bias")}


def drawn(shapes: dict[str, tuple[int, ...]], *, stddev: float) -> dict[str, np.ndarray]:
    """Returns normal numbers of these shapes, around 1 for the scales of norms; the same each time."""
    rng = np.random.default_rng(0)
    normal = {path: np.float32(stddev) * rng.standard_normal(shape, np.float32) for path, shape in shapes.items()}
    return {path: array + np.float32(path.endswith("/scale")) for path, array in normal.items()}
