"""Words as vectors of themselves and of their characters: Seo et al. 2016, the first two layers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.layers.embeddings import TokenEmbedding
from attention_jax.layers.product import product

PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    (r"(.*/)?(token|character)/embedding", (None, "fsdp")),
    (r"(.*/)?(filters|(carry|transform)_\d+)/kernel", ("fsdp",)),
    (r"(.*/)?(filters|(carry|transform)_\d+)/bias", ()),
)


class Words(nn.Module):
    """A vector of each word beside what a convolution makes of its characters, through highway layers.

    The convolution is wide, with relu, and its maximum over a word is taken (Kim 2014). A highway layer is
    t relu(W x) + (1 - t) x with t = sigmoid(W' x), which starts at a fifth (Srivastava et al. 2015).

    Attributes:
      vocabulary_size: V.
      width: D, of a word's own vector; 0 is its characters alone.
      character_vocabulary_size: how many characters there are; 0 is without.
      character_width: of a character's vector.
      filters: F, of the convolution.
      window: characters that it sees.
      highways: how many highway layers.
    """

    vocabulary_size: int
    width: int
    character_vocabulary_size: int = 0
    character_width: int = 8
    filters: int = 50
    window: int = 5
    highways: int = 2

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "B T"], characters: Int[Array, "B T C"] | None = None
    ) -> Float[Array, "B T E"]:
        """Returns the words' vectors, [B, T, D + F], or [B, T, D] without characters.

        Args:
          tokens: [B, T], each smaller than V; not read where there is no width.
          characters: [B, T, C], 0 beyond a word's own; None is without.
        """
        parts = []
        if self.width:
            init = nn.initializers.normal(self.width**-0.5)
            parts.append(TokenEmbedding(self.vocabulary_size, self.width, embedding_init=init, name="token")(tokens))
        if self.character_vocabulary_size and characters is not None:
            parts.append(self._spelt(characters))
        hidden = jnp.concatenate(parts, axis=-1)
        for layer in range(1, self.highways + 1):
            changed = nn.relu(nn.Dense(hidden.shape[-1], dot_general=product, name=f"transform_{layer}")(hidden))
            few = nn.initializers.constant(-1.4)
            gate = nn.Dense(hidden.shape[-1], dot_general=product, bias_init=few, name=f"carry_{layer}")(hidden)
            hidden = hidden + jax.nn.sigmoid(gate) * (changed - hidden)
        return hidden

    def _spelt(self, characters: Int[Array, "B T C"]) -> Float[Array, "B T F"]:
        batch, tokens, length = characters.shape
        init = nn.initializers.normal(self.character_width**-0.5)
        table = TokenEmbedding(
            self.character_vocabulary_size, self.character_width, embedding_init=init, name="character"
        )
        real = (characters > 0).reshape(batch * tokens, length)
        vectors = jnp.where(real[..., None], table(characters.reshape(batch * tokens, length)), 0)
        reach = self.window - 1
        wide = jnp.pad(vectors, ((0, 0), (reach, reach), (0, 0)))
        seen = jnp.concatenate([wide[:, start : start + length + reach] for start in range(self.window)], axis=-1)
        found = nn.relu(nn.Dense(self.filters, dot_general=product, name="filters")(seen))
        places = jnp.arange(length + reach) < real.sum(1, keepdims=True) + reach
        # relu is at least 0, and a mark has no characters.
        there = places & real.any(1, keepdims=True)
        return jnp.where(there[..., None], found, 0).max(1).reshape(batch, tokens, self.filters)
