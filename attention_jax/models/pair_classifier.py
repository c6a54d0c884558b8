"""Two texts through a BiLSTM, seen by each other by any pair mechanism, and classified as [u; v; |u - v|; u v].

What a mechanism gives for each token stands beside the token's own vector, with their difference and product (Chen et
al. 2017, Enhanced LSTM for Natural Language Inference, equations 14 and 15), goes through a layer and is pooled; what
it gives for a whole text is the text's vector. The vectors are compared as Conneau et al. 2017 do (InferSent).
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.kernels import Padding
from attention_jax.layers import Pooling, Recurrent, RecurrentOptions, pairing, recurrent
from attention_jax.layers.looked import Looked
from attention_jax.layers.padding import lengths_of
from attention_jax.layers.pairing import PairEmbedding, Pairing
from attention_jax.layers.product import product
from attention_jax.models.catalogue import register

PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    *pairing.PARAMETER_RULES,
    *recurrent.PARAMETER_RULES,
    (r"(compose_(first|second)|hidden)/kernel", ("fsdp",)),
    (r"(compose_(first|second)|hidden)/bias", ()),
    (r"pooling_(first|second)/pooling_\w+", ()),
    ("head/(kernel|bias)", ()),
)
SIDES = ("first", "second")


@register("pair_classifier")
class PairClassifier(nn.Module, kw_only=True):
    """Classifies two texts, or gives them a score.

    Attributes:
      vocabulary_size: V, a fact of the data.
      length: the most tokens of a text, a fact of the data.
      num_classes: C, a fact of the data; 1 for a score.
      width: of embeddings.
      encoder: the options of the BiLSTM.
      pair: the spec of any pair mechanism; None is none, so that neither text sees the other.
      pooling: the spec of the pooling of what there is of each token.
      hidden: units of the layer over what is pooled, and of the one before the classifier.
      shared_words: see `PairEmbedding`.
      dropout_rate: of the embeddings, and before both layers.
    """

    vocabulary_size: int
    length: int
    num_classes: int
    width: int = 64
    encoder: RecurrentOptions = RecurrentOptions(width=64, bidirectional=True)
    pair: str | None = "decomposable"
    pooling: str = "mean"
    hidden: int = 64
    shared_words: bool = False
    dropout_rate: float = 0.0

    reads: ClassVar[tuple[str, ...]] = SIDES
    may_read: ClassVar[tuple[str, ...]] = ("first_lengths", "second_lengths")
    looks: ClassVar[tuple[Looked, ...]] = (Looked("pairing", "Both texts", "second", rows="first"),)
    parameter_rules = PARAMETER_RULES

    @nn.compact
    def __call__(
        self,
        first: Int[Array, "B T"],
        second: Int[Array, "B S"],
        *,
        first_lengths: Int[Array, " B"] | None = None,
        second_lengths: Int[Array, " B"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B C"]:
        """Returns the logits of the classes, float32 [B, num_classes].

        Args:
          first, second: [B, T] and [B, S], each smaller than V.
          first_lengths, second_lengths: [B], how many tokens of each, from the first, are real; None: all are.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: there is no such mechanism or pooling, or it cannot do what is asked.
        """
        lengths = [lengths_of(first, first_lengths), lengths_of(second, second_lengths)]
        embed = PairEmbedding(self.vocabulary_size, self.width, self.shared_words, self.dropout_rate, name="embedding")
        encode = Recurrent(self.encoder, name="encoder")
        texts = [
            encode(text, lengths=of, deterministic=deterministic).outputs
            for text, of in zip(embed([first, second], lengths, deterministic=deterministic), lengths, strict=True)
        ]
        dropout = nn.Dropout(self.dropout_rate)
        u, v = (
            self._vector(side, dropout(features, deterministic=deterministic), of)
            for side, (features, of) in zip(SIDES, self._compared(texts, lengths), strict=True)
        )
        compared = jnp.concatenate([u, v, jnp.abs(u - v), u * v], axis=-1)
        hidden = nn.Dense(self.hidden, dot_general=product, name="hidden")
        inner = nn.relu(hidden(dropout(compared, deterministic=deterministic)))
        return nn.Dense(self.num_classes, name="head")(inner).astype(jnp.float32)

    def _compared(
        self, texts: list[Float[Array, "B T D"]], lengths: list[Int[Array, " B"]]
    ) -> list[tuple[Float[Array, "B *T E"], Int[Array, " B"]]]:
        """Returns what there is of each text, by place or of the whole, and how many places are real."""
        if self.pair is None:
            return list(zip(texts, lengths, strict=True))
        first_mask, second_mask = map(Padding, lengths)
        see = Pairing(self.pair, self.length, name="pairing")
        paired = see(texts[0], texts[1], first_mask=first_mask, second_mask=second_mask)
        return [
            _beside(text, given, of)
            for text, given, of in zip(texts, (paired.first, paired.second), lengths, strict=True)
        ]

    def _vector(self, side: str, features: Float[Array, "B *T E"], lengths: Int[Array, " B"]) -> Float[Array, "B H"]:
        composed = nn.relu(nn.Dense(self.hidden, dot_general=product, name=f"compose_{side}")(features))
        if composed.ndim == 2:
            return composed
        return Pooling(self.pooling, name=f"pooling_{side}")(composed, mask=Padding(lengths))


def _beside(
    text: Float[Array, "B T D"], given: Float[Array, "B *P E"], lengths: Int[Array, " B"]
) -> tuple[Float[Array, "B *P F"], Int[Array, " B"]]:
    """Returns what a mechanism gives, beside the tokens where it is of the same shape, and its real places."""
    if given.shape == text.shape:
        return jnp.concatenate([text, given, text - given, text * given], axis=-1), lengths
    if given.ndim == 2:
        return given, lengths
    return given, jnp.maximum(lengths - (text.shape[1] - given.shape[1]), 0)
