"""A sequence summed up in one vector, by any pooling."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels import pool
from attention_jax.kernels.arrays import SequenceSizes
from attention_jax.kernels.pool import declared_arrays
from attention_jax.kernels.sequences import Real
from attention_jax.layers.attention import LOOKED_AT
from attention_jax.layers.owned import owned_arrays


class Pooling(nn.Module):
    """Sums up each sequence by a pooling, whose arrays it owns.

    They are named "pooling_..."; those that are drawn and not trained are in the collection "buffers".

    Where the caller makes that collection mutable, `LOOKED_AT` has the "weights" [B, R, 1, T] of a pooling that has
    some: the share of each token in each of its R means.

    Attributes:
      pooling: the spec of the pooling.
    """

    pooling: str = "mean"

    @nn.compact
    def __call__(
        self,
        hidden: Float[Array, "B T D"],
        *,
        mask: Real = None,
        query: Float[Array, "B Q"] | None = None,
    ) -> Float[Array, "B E"]:
        """Returns the sum of each sequence, [B, E]; 0 where no token is real, with a gradient of 0.

        Args:
          hidden: [B, T, D].
          mask: which tokens are real, `Padding` or bool [B, T]; None: all are.
          query: [B, Q], for a pooling that takes one.

        Raises:
          Refused: there is no such pooling, or it cannot do what is asked.
        """
        declared = declared_arrays(self.pooling, with_query=query is not None)
        sizes = SequenceSizes(hidden.shape[-1], None if query is None else query.shape[-1])
        params = owned_arrays(self, declared, sizes, name_of="pooling_{}".format)
        pooled = pool(hidden, pooling=self.pooling, params=params, mask=mask, query=query)
        if pooled.weights is not None and self.is_mutable_collection(LOOKED_AT) and not self.is_initializing():
            self.sow(LOOKED_AT, "weights", pooled.weights[:, :, None].astype(jnp.float32))
        return pooled.out
