"""softmax(q k^T) v - sigmoid(gate) softmax(q' k^T) v: Ye et al. 2026 (Differential Transformer V2), DiffAttnV2.

Each head has a second query and a gate, projected from the token as its query is; both queries meet the head's own key
and value, which is what the published code's interleaved heads of one group come to. There is no norm of the heads and
no lambda_init: `differential` is another mechanism. Towards a gate of -inf it is scaled dot-product attention.
"""

import jax

from attention_jax.kernels.arrays import PerToken
from attention_jax.kernels.composition import Composition, Solve, part, past_nan
from attention_jax.kernels.mechanism import SoftmaxScore, to_statistics
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.variants.composed.difference import less

_PER_TOKEN = {"second": PerToken(("N", "H"), of="query"), "gate": PerToken(("N",), of="query")}
_SCORE = SoftmaxScore(scale=None, per_token=_PER_TOKEN)


def _run(problem: Problem, solve: Solve) -> AttentionOutput:
    second_query = problem.per_token["second"].astype(problem.query.dtype)
    first, second = (
        solve(part(problem, _SCORE, name=f"query {number}", query=query, outputs=problem.outputs))
        for number, query in enumerate((problem.query, second_query), 1)
    )
    share = jax.nn.sigmoid(to_statistics(problem.per_token["gate"]))[..., None]

    out = less(first.out, second.out, share).astype(problem.query.dtype)
    if first.weights is None or second.weights is None:
        return AttentionOutput(out)
    return AttentionOutput(out, weights=less(first.weights, second.weights, share.swapaxes(1, 2)))


@register(
    source=Source(
        "Differential Transformer V2",
        "DiffAttnV2, a post of unilm on Hugging Face",
        authors="Ye, Tianzhu and Dong, Li and Sun, Yutao and Wei, Furu",
        year=2026,
    ),
    claims=Claims(lse=False),
    aliases=("diff_transformer_v2",),
)
def differential_v2() -> Composition:
    """Softmax attention of each head less a share, that the token chooses, of what a second query of it attends to."""
    return Composition(run=past_nan(_run), per_token=_PER_TOKEN)
