"""F_j = sum over k = j to j + w - 1 of a_k x_k with a_k = sum_j A_kj: Yin et al. 2015, section 4, ABCNN-2.

A_ij = 1 / (1 + |x_i - y_j|) of what a convolution of the model's has made of two sequences. T tokens have T - w + 1
places; one whose window holds a hidden token has 0.
"""

import functools
import operator

from jaxtyping import Array, Bool, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.attend_pair import Pair, PairClaims, Paired, PairGiven, by_place, register_pair
from attention_jax.kernels.match_score import match_score
from attention_jax.kernels.pairs.abcnn_1 import SOURCE
from attention_jax.kernels.source import Source


def _windows(tokens: Float[Array, "B T D"], real: Bool[Array, "B T"], window: int) -> Float[Array, "B P D"]:
    places = tokens.shape[1] - window + 1
    if places < 1:
        raise Refused(f"a window of {window} is longer than the {tokens.shape[1]} tokens: give a smaller one.")
    runs = [slice(start, start + places) for start in range(window)]
    whole = functools.reduce(operator.and_, (real[:, run] for run in runs))
    return by_place(functools.reduce(operator.add, (tokens[:, run] for run in runs)), whole)


def pooled(first: Float[Array, "B T D"], second: Float[Array, "B S D"], given: PairGiven, window: int) -> Paired:
    """Returns sums over windows of the tokens, each times the sum of its match scores."""
    affinity = match_score(first, second, given.both)
    return Paired(
        _windows(first * affinity.sum(2)[..., None], given.first, window),
        _windows(second * affinity.sum(1)[..., None], given.second, window),
        affinity,
    )


def check_window(name: str, window: int) -> None:
    """Checks that a window holds a token.

    Raises:
      Refused: it does not.
    """
    if window < 1:
        raise Refused(f"{name} has window={window}: give at least 1.")


@register_pair(
    source=Source(equation="section 4, ABCNN-2", **SOURCE),  # type: ignore[arg-type]
    claims=PairClaims(order_free=False, swapped=lambda params: params, tried="abcnn_2:window=2"),
)
def abcnn_2(*, window: int = 4) -> Pair:
    """Sums over windows of the tokens of each sequence, weighed by how they match those of the other.

    Args:
      window: tokens that are summed.

    Raises:
      Refused: window is smaller than 1, or longer than a sequence.
    """
    check_window("abcnn_2", window)
    return Pair(pair=lambda first, second, given: pooled(first, second, given, window))
