"""A transformer encoder that classifies a sequence from a sum of its outputs over the real tokens."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.kernels import Padding
from attention_jax.layers import Backbone, Pooling, PositionEmbedding, TokenEmbedding
from attention_jax.layers.defaults import INIT_STDDEV, compute_dtype, layer_norm, normal
from attention_jax.models.catalogue import register


@register("encoder_classifier")
class EncoderClassifier(Backbone, kw_only=True):
    """Embeds tokens and positions, runs bidirectional blocks, classifies the tokens summed up, by their mean.

    Attributes:
      vocabulary_size: V, a fact of the data.
      length: the number of tokens, a fact of the data.
      num_classes: a fact of the data.
      pooling: the spec of the pooling that sums up the tokens, such as "self_attentive:hops=2".
      init_stddev: of all initial weights; 0.02 suits widths of about 1000, narrow models want about 1 / sqrt(width).
    """

    vocabulary_size: int
    length: int
    num_classes: int
    pooling: str = "mean"
    init_stddev: float = INIT_STDDEV

    reads: ClassVar[tuple[str, ...]] = ("tokens",)
    may_read: ClassVar[tuple[str, ...]] = ("lengths",)

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "B T"], *, lengths: Int[Array, " B"] | None = None, deterministic: bool = True
    ) -> Float[Array, "B C"]:
        """Returns the logits of the classes, float32 [B, num_classes].

        Args:
          tokens: [B, T], each smaller than V.
          lengths: [B], how many tokens of each sequence, from the first, are real; the others are padding, which no
            token sees and which the pooling leaves out. None: all are.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: there are too many tokens, or the blocks or the pooling refuse.
        """
        dtype = compute_dtype(self.dtype)
        init = normal(self.init_stddev)
        embedding = TokenEmbedding(self.vocabulary_size, self.width, embedding_init=init, dtype=dtype, name="token")
        positions = PositionEmbedding(self.length, embedding_init=init, dtype=dtype, name="position")
        mask = None if lengths is None else Padding(lengths)
        hidden = self.run_blocks(
            positions(embedding(tokens)),
            mask=mask,
            deterministic=deterministic,
            kernel_init=init,
            out_init=init,
        )
        pooled = Pooling(self.pooling, name="pooling")(hidden, mask=mask)
        pooled = layer_norm(name="norm", epsilon=self.norm_epsilon, dtype=dtype)(pooled)
        return nn.Dense(self.num_classes, kernel_init=init, dtype=dtype, name="head")(pooled).astype(jnp.float32)
