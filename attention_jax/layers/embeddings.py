"""Learned embeddings of tokens and of positions."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels import Refused
from attention_jax.layers.defaults import normal


class TokenEmbedding(nn.Embed):
    """A vector for each token, drawn from N(0, 0.02^2); `attend(hidden)` gives the logits of a tied output layer."""

    embedding_init: nn.initializers.Initializer = normal()


class PositionEmbedding(nn.Module):
    """Adds a learned vector for each position, drawn from N(0, 0.02^2).

    Attributes:
      length: how many positions there are.
      dtype: what it computes in.
    """

    length: int
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
        table = self.param("embedding", normal(), (self.length, width), jnp.float32)
        return inputs + table[:tokens].astype(self.dtype)
