"""Skip-gram: Mikolov et al. 2013, section 2.2. A word's vector says which words stand around it."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.layers import TokenEmbedding
from attention_jax.models.catalogue import register


@register("skip_gram")
class SkipGram(nn.Module, kw_only=True):
    """Two vectors of each word: "token", as a center, which is its vector, and "context", as a word around another.

    Attributes:
      vocabulary_size: V, a fact of the data.
      width: D, of the vectors.
    """

    vocabulary_size: int
    width: int = 100

    reads: ClassVar[tuple[str, ...]] = ("center", "contexts", "negatives")
    parameter_rules: ClassVar[tuple[tuple[str, tuple[str | None, ...]], ...]] = (
        ("(token|context)/embedding", (None, "fsdp")),
    )

    def setup(self) -> None:
        """Makes the tables, drawn as in the published program: U(-1/2D, 1/2D), and zeros."""

        def small(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
            return jax.random.uniform(key, shape, dtype, -0.5 / self.width, 0.5 / self.width)

        self.token = TokenEmbedding(self.vocabulary_size, self.width, embedding_init=small)
        self.context = TokenEmbedding(self.vocabulary_size, self.width, embedding_init=nn.initializers.zeros)

    def __call__(
        self,
        center: Int[Array, " B"],
        contexts: Int[Array, "B C"],
        negatives: Int[Array, "B K"],
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B CK"]:
        """Returns the logits that each word stands around the center: of its contexts, then of the negatives, [B, C+K].

        Args:
          center: [B], each smaller than V.
          contexts: [B, C], words around it.
          negatives: [B, K], words drawn.
          deterministic: of no effect; nothing is dropped out.
        """
        around = jnp.concatenate([contexts, negatives], axis=1)
        return jnp.einsum("bd,bnd->bn", self.token(center[:, None])[:, 0], self.context(around)).astype(jnp.float32)

    def similarity(self, pair: Int[Array, "B 2"]) -> Float[Array, " B"]:
        """Returns the cosine of the vectors of two words, [B], float32."""
        first, second = jnp.moveaxis(self.token(pair).astype(jnp.float32), 1, 0)
        lengths = jnp.linalg.norm(first, axis=-1) * jnp.linalg.norm(second, axis=-1)
        return jnp.sum(first * second, axis=-1) / jnp.maximum(lengths, jnp.finfo(jnp.float32).tiny)
