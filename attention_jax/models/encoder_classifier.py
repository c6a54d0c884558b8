"""A transformer encoder that classifies a sequence from a sum of its outputs over the real tokens."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.kernels import Padding
from attention_jax.layers import Embedding, Pooling, Seen, Stack, StackOptions
from attention_jax.layers.looked import Looked
from attention_jax.layers.stack import PARAMETER_RULES
from attention_jax.layers.stack_options import OF_LOGITS
from attention_jax.models.catalogue import register


@register("encoder_classifier")
class EncoderClassifier(nn.Module, kw_only=True):
    """Embeds tokens and positions, runs bidirectional blocks, classifies the tokens summed up, by their mean.

    Attributes:
      vocabulary_size: V, a fact of the data.
      length: the number of tokens, a fact of the data.
      num_classes: a fact of the data.
      stack: the options of its blocks.
      pooling: the spec of the pooling that sums up the tokens, such as "self_attentive:hops=2".
    """

    vocabulary_size: int
    length: int
    num_classes: int
    stack: StackOptions = StackOptions()
    pooling: str = "mean"

    reads: ClassVar[tuple[str, ...]] = ("tokens",)
    may_read: ClassVar[tuple[str, ...]] = ("lengths",)
    looks: ClassVar[tuple[Looked, ...]] = (Looked("pooling", "Words in the sum", "tokens"),)
    parameter_rules = PARAMETER_RULES

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
        options = self.stack
        options.refuse(*OF_LOGITS, "cross_attention", owner="model encoder_classifier")
        embedding, blocks = Embedding(options, self.vocabulary_size, self.length), Stack(options)
        # Their parameters are named as those of the model.
        nn.share_scope(self, embedding)
        nn.share_scope(self, blocks)
        mask = None if lengths is None else Padding(lengths)
        hidden, _ = blocks(embedding(tokens), Seen(mask), deterministic=deterministic)
        pooled = Pooling(self.pooling, name="pooling")(hidden, mask=mask)
        dtype = options.compute_dtype
        pooled = options.make_norm("norm")(pooled)
        head = nn.Dense(self.num_classes, kernel_init=options.kernel_init, dtype=dtype, name="head")
        return head(pooled).astype(jnp.float32)
