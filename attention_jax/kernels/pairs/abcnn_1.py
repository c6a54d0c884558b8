"""F_1 = A W, F_2 = A^T W with A_ij = 1 / (1 + |x_i - y_j|): Yin et al. 2015, section 4, ABCNN-1.

Each row is the second channel of a token, beside the token itself, for a convolution that is the model's. W has a row
for each place of the longer sequence; as in the authors' implementation both sequences share it.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.arrays import normal
from attention_jax.kernels.attend_pair import Pair, PairClaims, Paired, PairGiven, register_pair
from attention_jax.kernels.match_score import match_score
from attention_jax.kernels.source import Source

SOURCE = {
    "title": "ABCNN: Attention-Based Convolutional Neural Network for Modeling Sentence Pairs",
    "authors": "Yin, Wenpeng and Schütze, Hinrich and Xiang, Bing and Zhou, Bowen",
    "year": 2015,
    "venue": "TACL 2016",
    "arxiv": "1512.05193",
}


def feature_maps(first: Float[Array, "B T D"], second: Float[Array, "B S D"], given: PairGiven) -> Paired:
    """Returns the attention feature map of each sequence, [B, T, D] and [B, S, D]."""
    affinity = match_score(first, second, given.both)
    weight = given.params["weight"]
    of_first = jnp.einsum("bts,sd->btd", affinity, weight[: second.shape[1]])
    return Paired(of_first, jnp.einsum("bts,td->bsd", affinity, weight[: first.shape[1]]), affinity)


@register_pair(
    source=Source(equation="section 4, ABCNN-1", **SOURCE),  # type: ignore[arg-type]
    claims=PairClaims(order_free=False, swapped=lambda params: params),
)
def abcnn_1() -> Pair:
    """Of each token a feature map of how it matches the tokens of the other sequence."""
    return Pair(pair=feature_maps, arrays={"weight": normal("length", "D")})
