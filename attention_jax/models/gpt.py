"""A decoder-only language model: Radford et al. 2019 (GPT-2), in the shape that nanoGPT trains.

Pre-norm blocks, learned positions, output tied to the token embedding. Weights are drawn from N(0, 0.02^2), those that
write to the residual stream from N(0, 0.02^2 / 2L) (GPT-2, section 2.3).
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.kernels import Causal
from attention_jax.layers import Backbone, PositionEmbedding, TokenEmbedding, require_causal
from attention_jax.layers.defaults import EMBEDDING_STDDEV, compute_dtype, layer_norm, normal
from attention_jax.models.catalogue import register


@register("gpt")
class GPT(Backbone, kw_only=True):
    """Predicts each next token from those before it.

    Attributes:
      vocabulary_size: V, a fact of the data.
      length: the largest number of tokens, a fact of the data.
      approximate_causal: accept a variant whose choice of what to attend to can leak the future.
    """

    vocabulary_size: int
    length: int
    use_bias: bool = False
    approximate_causal: bool = False

    reads: ClassVar[str] = "inputs"

    @nn.compact
    def __call__(self, tokens: Int[Array, "B T"], *, deterministic: bool = True) -> Float[Array, "B T V"]:
        """Returns the logits of the token after each token, float32 [B, T, V].

        Args:
          tokens: [B, T], each smaller than V.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: the variant is not causal, there are too many tokens, or the blocks refuse.
        """
        require_causal(self.attention, owner="model gpt", approximate=self.approximate_causal)
        dtype = compute_dtype(self.dtype)
        embedding = TokenEmbedding(self.vocabulary_size, self.width, dtype=dtype, name="token")
        embedded = PositionEmbedding(self.length, dtype=dtype, name="position")(embedding(tokens))
        out_init = normal(EMBEDDING_STDDEV / (2 * self.num_layers) ** 0.5)
        hidden = self.run_blocks(embedded, mask=Causal(), deterministic=deterministic, out_init=out_init)
        hidden = layer_norm(name="norm", epsilon=self.norm_epsilon, dtype=dtype)(hidden)
        return embedding.attend(hidden).astype(jnp.float32)
