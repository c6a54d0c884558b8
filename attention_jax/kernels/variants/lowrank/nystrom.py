"""softmax(q k~^T) softmax(q~ k~^T)^+ softmax(q~ k^T) v: Xiong et al. 2021 (Nystromformer), equations 13 and 14.

q~ and k~ are landmarks, the means of segments of consecutive tokens. The pseudo-inverse A^+ is found by the paper's
iteration Z <- Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4 from Z = A^T / (|A|_1 |A|_inf), where |A|_inf is 1 as rows of
a softmax sum to 1. A landmark mixes later tokens in, so there is no causal form. The paper's convolution of the values
beside it belongs to the model.

Where there are no more tokens than landmarks there is nothing to approximate: as in the published code it is scaled
dot-product attention itself, which six iterations come no nearer to than a tenth.

Where published code differs: it divides a mean by the length of the segment, padding in it or not; it keeps landmarks
of nothing but padding, as zero vectors; and it takes the norms over the whole batch, so that sequences see each other.
Here a mean is over the real tokens, a segment without any takes no part, and each matrix has norms of its own. All of
it is computed in float32, since the pseudo-inverse makes rounding larger.
"""

import math
from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.composition import Composition, Solve, on_other_tokens, part, past_nan
from attention_jax.kernels.mask import Padding
from attention_jax.kernels.mechanism import SoftmaxScore, dot, to_statistics
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.registry import Claims, Limit, Source, register
from attention_jax.kernels.softmax import masked_softmax

_SCALED = SoftmaxScore(scale=None)


def _segment_means(
    tokens: Float[Array, "B T N H"], real: Bool[Array, "B T"], size: int
) -> tuple[Float[Array, "B M N H"], Bool[Array, "B M"]]:
    """The mean of the real tokens of each segment, and which segments have any."""
    more = -tokens.shape[1] % size
    real = jnp.pad(real, ((0, 0), (0, more)))
    tokens = jnp.where(real[..., None, None], jnp.pad(tokens, ((0, 0), (0, more), (0, 0), (0, 0))), 0)
    counts = real.reshape(real.shape[0], -1, size).sum(-1)
    sums = tokens.reshape(*counts.shape, size, *tokens.shape[2:]).sum(2)
    return sums / jnp.maximum(counts, 1).astype(sums.dtype)[..., None, None], counts > 0


def _pseudo_inverse(matrix: Float[Array, "B N M M"], iterations: int) -> Float[Array, "B N M M"]:
    highest = matrix.sum(-2, keepdims=True).max(-1, keepdims=True)
    found = matrix.swapaxes(-1, -2) / jnp.where(highest > 0, highest, 1)
    identity = jnp.eye(matrix.shape[-1], dtype=matrix.dtype)[None, None]
    for _ in range(iterations):
        product = matrix @ found
        found = found @ (13 * identity - product @ (15 * identity - product @ (7 * identity - product))) / 4
    return found


def _run(problem: Problem, solve: Solve, *, landmarks: int, iterations: int) -> AttentionOutput:
    if problem.key.shape[1] <= landmarks:
        return solve(part(problem, _SCALED, name="every token a landmark"))
    query, key, value = (to_statistics(array) for array in (problem.query, problem.key, problem.value))
    real = problem.real
    size = math.ceil(key.shape[1] / landmarks)
    few_queries, some = _segment_means(query, real, size)
    few_keys, _ = _segment_means(key, real, size)
    both = (some[:, :, None] & some[:, None, :])[:, None]
    between = masked_softmax(dot(few_queries, few_keys, problem.given) / math.sqrt(query.shape[-1]), both)
    through = partial(on_other_tokens, problem, _SCALED)
    read = solve(through(name="landmarks to keys", query=few_queries, key=key, value=value, mask=Padding(real))).out
    inverse = _pseudo_inverse(jnp.where(both, between, 0), iterations)
    few_keys = jnp.repeat(few_keys, query.shape[2] // key.shape[2], axis=2)
    read = jnp.einsum("bnml,blnv->bmnv", inverse, read)
    out = solve(through(name="queries to landmarks", query=query, key=few_keys, value=read, mask=Padding(some))).out
    return AttentionOutput(out.astype(problem.query.dtype))


@register(
    source=Source(
        "Nyströmformer: A Nyström-Based Algorithm for Approximating Self-Attention",
        "equations 13 and 14",
        authors="Xiong, Yunyang and Zeng, Zhanpeng and Chakraborty, Rudrasis and Tan, Mingxing and Fung, Glenn and "
        "Li, Yin and Singh, Vikas",
        year=2021,
        venue="AAAI 2021",
        arxiv="2102.03902",
    ),
    claims=Claims(
        causal="no",
        time="linear",
        cross=False,
        bias=False,
        dropout=False,
        weights=False,
        lse=False,
        order_free=False,
        rows_apart=False,
        masks=("Padding",),
        limits=(Limit("nystrom:landmarks=7", equals="scaled_dot", tolerance=2e-6),),
        tried="nystrom:landmarks=2,iterations=2",
    ),
)
def nystrom(*, landmarks: int = 64, iterations: int = 6) -> Composition:
    """Scaled dot-product attention approximated through the means of a few segments of tokens.

    Args:
      landmarks: the paper's m: how many segments the sequence is cut into, at most.
      iterations: of the pseudo-inverse.

    Raises:
      Refused: either is smaller than 1.
    """
    for name, number in (("landmarks", landmarks), ("iterations", iterations)):
        if number < 1:
            raise Refused(f"nystrom:{name}={number} leaves nothing to attend through: give at least 1.")

    def run(problem: Problem, solve: Solve) -> AttentionOutput:
        return _run(problem, solve, landmarks=landmarks, iterations=iterations)

    return Composition(run=past_nan(run))
