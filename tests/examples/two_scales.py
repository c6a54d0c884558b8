"""A composition: out = (softmax(a q . k) v + softmax(b q . k) v) / 2, a sharp attention and a broad one."""

from attention_jax.kernels import (
    AttentionOutput,
    Claims,
    Composition,
    Refused,
    SoftmaxScore,
    Source,
    part,
    register,
)


@register(source=Source("this file", "its first line"), claims=Claims(lse=False, convex=True))
def two_scales(*, sharp: float = 1.0, broad: float = 0.1) -> Composition:
    """The mean of two attentions at different scales.

    Args:
      sharp: a.
      broad: b, smaller.

    Raises:
      Refused: b is not smaller than a.
    """
    if broad >= sharp:
        raise Refused(f"two_scales:broad={broad} is not below sharp={sharp}: give a smaller one.")

    def run(problem, solve):
        # Each part is solved by the engine that fits it, under the caller's mask, bias and dropout.
        asked = tuple(name for name in problem.outputs if name in ("out", "weights"))
        one, other = (
            solve(part(problem, SoftmaxScore(scale=scale), name=name, outputs=asked))
            for name, scale in (("sharp", sharp), ("broad", broad))
        )
        weights = (one.weights + other.weights) / 2 if "weights" in asked else None
        return AttentionOutput(out=(one.out + other.out) / 2, weights=weights)

    return Composition(run=run)
