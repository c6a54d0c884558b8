"""Two sequences seen by each other, by any pair mechanism."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels import Padding
from attention_jax.kernels.arrays import SequenceSizes
from attention_jax.kernels.attend_pair import Paired, attend_pair, lookup_pair
from attention_jax.layers.attention import LOOKED_AT
from attention_jax.layers.owned import owned_arrays


class Pairing(nn.Module):
    """Lets two sequences see each other by a pair mechanism, whose arrays it owns: they are named "pair_...".

    Where the caller makes that collection mutable, `LOOKED_AT` has the "weights" [B, 1, T, S]: of each token of the
    first sequence its shares of the second's, or the affinity of a pair that has no such shares.

    Attributes:
      pair: the spec of the mechanism.
      length: the longest sequence, for a mechanism with a number for each place.
    """

    pair: str
    length: int

    @nn.compact
    def __call__(
        self,
        first: Float[Array, "B T D"],
        second: Float[Array, "B S D"],
        *,
        first_mask: Padding | None = None,
        second_mask: Padding | None = None,
    ) -> Paired:
        """Returns what `attend_pair` does.

        Args:
          first: [B, T, D].
          second: [B, S, D].
          first_mask, second_mask: which tokens are real; None: all are.

        Raises:
          Refused: there is no such mechanism, or a sequence is longer than `length` where it has a number for each.
        """
        declared = lookup_pair(self.pair).made.arrays
        sizes = SequenceSizes(first.shape[-1], length=self.length)
        params = owned_arrays(self, declared, sizes, name_of="pair_{}".format)
        paired = attend_pair(
            first, second, pair=self.pair, params=params, first_mask=first_mask, second_mask=second_mask
        )
        if self.is_mutable_collection(LOOKED_AT) and not self.is_initializing():
            shares = paired.second_weights
            weights = shares if shares is not None and shares.ndim == 3 else paired.affinity
            self.sow(LOOKED_AT, "weights", weights[:, None].astype(jnp.float32))
        return paired
