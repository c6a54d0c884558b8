"""Learned embeddings of positions; those of tokens are Flax's own `Embed`."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels import Refused
from attention_jax.layers.defaults import Initializer, normal


class PositionEmbedding(nn.Module):
    """Adds a learned vector for each position.

    Attributes:
      length: how many positions there are.
      embedding_init: draws them.
      dtype: what it computes in.
    """

    length: int
    embedding_init: Initializer = normal()
    dtype: jnp.dtype = jnp.dtype(jnp.float32)

    @nn.compact
    def __call__(self, inputs: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Returns the inputs with position t's vector added to token t, [B, T, D].

        Raises:
          Refused: there are more tokens than positions.
        """
        tokens, width = inputs.shape[1:]
        if tokens > self.length:
            raise Refused(f"{tokens} tokens are more than the {self.length} positions of the model: shorten the input.")
        table = self.param("embedding", self.embedding_init, (self.length, width), jnp.float32)
        return inputs + table[:tokens].astype(self.dtype)
