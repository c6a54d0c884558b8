"""A sequence summed up in one vector, by any pooling."""

import flax.linen as nn
from jaxtyping import Array, Float

from attention_jax.kernels import Padding, Params, pool, pooling_init
from attention_jax.kernels.pool import declared_arrays


class Pooling(nn.Module):
    """Sums up each sequence by a pooling, whose arrays it owns.

    They are named "pooling_..."; those that are drawn and not trained are in the collection "buffers".

    Attributes:
      pooling: the spec of the pooling.
    """

    pooling: str = "mean"

    @nn.compact
    def __call__(
        self,
        hidden: Float[Array, "B T D"],
        *,
        mask: Padding | None = None,
        query: Float[Array, "B Q"] | None = None,
    ) -> Float[Array, "B E"]:
        """Returns the sum of each sequence, [B, E]; 0 where no token is real, with a gradient of 0.

        Args:
          hidden: [B, T, D].
          mask: which tokens are real; None: all are.
          query: [B, Q], for a pooling that takes one.

        Raises:
          Refused: there is no such pooling, or it cannot do what is asked.
        """
        declared = declared_arrays(self.pooling, with_query=query is not None)
        # Drawn all at once.
        if self.is_initializing():
            width, query_width = hidden.shape[-1], None if query is None else query.shape[-1]
            for name, array in pooling_init(self.pooling, self.make_rng("params"), width, query_width).items():
                if declared[name].trained:
                    self.param(f"pooling_{name}", lambda rng, array=array: array)
                else:
                    self.variable("buffers", f"pooling_{name}", lambda array=array: array)
        params: Params = {
            name: self.get_variable("params" if one.trained else "buffers", f"pooling_{name}")
            for name, one in declared.items()
        }
        return pool(hidden, pooling=self.pooling, params=params, mask=mask, query=query).out
