"""ABCNN-1 and ABCNN-2 one after the other: Yin et al. 2015, section 4, ABCNN-3.

The convolution between them is the model's, which calls `abcnn_1`, convolves, and calls `abcnn_2`. Here there is none:
the feature maps stand beside the tokens, 2 D channels, which are matched again and summed over windows.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.arrays import normal
from attention_jax.kernels.attend_pair import Pair, PairClaims, Paired, PairGiven, register_pair
from attention_jax.kernels.pairs.abcnn_1 import SOURCE, feature_maps
from attention_jax.kernels.pairs.abcnn_2 import check_window, pooled
from attention_jax.kernels.source import Source


@register_pair(
    source=Source(equation="section 4, ABCNN-3", **SOURCE),  # type: ignore[arg-type]
    claims=PairClaims(order_free=False, swapped=lambda params: params, tried="abcnn_3:window=2"),
)
def abcnn_3(*, window: int = 4) -> Pair:
    """Sums over windows of the tokens beside their feature maps, weighed by how these match the other sequence's.

    Args:
      window: tokens that are summed.

    Raises:
      Refused: window is smaller than 1, or longer than a sequence.
    """
    check_window("abcnn_3", window)

    def pair(first: Float[Array, "B T D"], second: Float[Array, "B S D"], given: PairGiven) -> Paired:
        maps = feature_maps(first, second, given)
        first, second = (jnp.concatenate(two, axis=-1) for two in ((first, maps.first), (second, maps.second)))
        return pooled(first, second, given, window)

    return Pair(pair=pair, arrays={"weight": normal("length", "D")})
