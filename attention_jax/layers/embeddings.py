"""Learned embeddings of tokens and of positions."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.layers.defaults import Initializer, normal
from attention_jax.layers.spread import gathered


class TokenEmbedding(nn.Embed):
    """Flax's own `Embed`, whose table may lie in parts on several devices; tokens at one place are added up."""

    def setup(self) -> None:
        """Makes the table, [V, D]."""
        super().setup()
        self.embedding = gathered(self.embedding)

    def __call__(self, inputs: Int[Array, "B T *several"]) -> Float[Array, "B T D"]:
        """Returns the vector of each token, [B, T, D]; of [B, T, S] the sum of the S vectors of each place."""
        embedded = super().__call__(inputs)
        return embedded if inputs.ndim == 2 else jnp.sum(embedded, axis=2)


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
    def __call__(
        self, inputs: Float[Array, "B T D"], *, positions: Int[Array, "B T"] | None = None
    ) -> Float[Array, "B T D"]:
        """Returns the inputs with the vector of its position added to each token, [B, T, D].

        Args:
          inputs: [B, T, D].
          positions: where each token stands, [B, T], 0 to length - 1, and NaN is added to one that stands elsewhere; by
            default 0, 1, 2 ...

        Raises:
          Refused: there are more tokens than positions.
        """
        tokens, width = inputs.shape[1:]
        if tokens > self.length:
            raise Refused(f"{tokens} tokens are more than the {self.length} positions of the model: shorten the input.")
        table = self.param("embedding", self.embedding_init, (self.length, width), jnp.float32)
        table = jnp.asarray(gathered(table), self.dtype)
        if positions is None:
            return inputs + table[:tokens]
        return inputs + table.at[positions].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
