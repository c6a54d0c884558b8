"""Recurrent layers over a text, summed up by the last state, or by any pooling of all states, and classified."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.kernels import Padding
from attention_jax.layers import Pooling, Recurrent, RecurrentOptions, TokenEmbedding, recurrent
from attention_jax.layers.looked import Looked
from attention_jax.models.catalogue import register

# The one way to sum up that is no pooling: the state that the recurrence ends with.
LAST = "last"
PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    ("token/embedding", (None, "fsdp")),
    *recurrent.PARAMETER_RULES,
    (r"pooling/pooling_\w+", ()),
    ("head/kernel", ("fsdp",)),
    ("head/bias", ()),
)


@register("recurrent_classifier")
class RecurrentClassifier(nn.Module, kw_only=True):
    """Embeds tokens, runs recurrent layers over them, classifies what sums up their states.

    Attributes:
      vocabulary_size: V, a fact of the data.
      num_classes: C, a fact of the data.
      width: of embeddings.
      encoder: the options of the recurrent layers.
      pooling: the spec of the pooling of the states, such as "by_query", "mean" or "max_pooling"; or "last": the state
        after the last real token, and, of two directions, beside it that of the backward one after the first token.
      dropout_rate: of the embeddings, and of what is classified.
    """

    vocabulary_size: int
    num_classes: int
    width: int = 128
    encoder: RecurrentOptions = RecurrentOptions(width=128, bidirectional=True)
    pooling: str = "by_query"
    dropout_rate: float = 0.0

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
          lengths: [B], how many tokens of each text, from the first, are real; None: all are. A text without a token
            is summed up by 0.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: there is no such pooling, or it cannot do what is asked.
        """
        dropout = nn.Dropout(self.dropout_rate)
        init = nn.initializers.normal(self.width**-0.5)
        vectors = TokenEmbedding(self.vocabulary_size, self.width, embedding_init=init, name="token")(tokens)
        vectors = dropout(vectors, deterministic=deterministic)
        ran = Recurrent(self.encoder, name="encoder")(vectors, lengths=lengths, deterministic=deterministic)
        if self.pooling == LAST:
            summed = ran.last(1 + self.encoder.bidirectional)
        else:
            mask = None if lengths is None else Padding(lengths)
            summed = Pooling(self.pooling, name="pooling")(ran.outputs, mask=mask)
        summed = dropout(summed, deterministic=deterministic)
        return nn.Dense(self.num_classes, name="head")(summed).astype(jnp.float32)
