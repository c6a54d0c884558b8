"""HAN: Yang et al. 2016, Hierarchical Attention Networks for Document Classification, equations 1 to 11.

A bidirectional GRU over the words of each sentence, whose states are summed up by attention to a learned context; the
same over the sentences of the document; a classifier. Its GRU multiplies by the reset gate after the product with the
candidate's kernel is formed, as equation 3 does: "gru".
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.layers import Pooling, Recurrent, RecurrentOptions, TokenEmbedding, recurrent
from attention_jax.layers.looked import Looked
from attention_jax.layers.padding import is_real, lengths_of
from attention_jax.models.catalogue import register

PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    ("token/embedding", (None, "fsdp")),
    *recurrent.PARAMETER_RULES,
    (r"(word|sentence)_pooling/pooling_\w+", ()),
    ("head/kernel", ("fsdp",)),
    ("head/bias", ()),
)
GRU = RecurrentOptions(cell="gru", width=50, bidirectional=True)


@register("han")
class Han(nn.Module, kw_only=True):
    """Classifies documents of sentences of words.

    Attributes:
      vocabulary_size: V, a fact of the data.
      num_classes: C, a fact of the data.
      width: of embeddings.
      words, sentences: the options of the recurrent layers over words, and over sentences.
      word_pooling, sentence_pooling: the specs of what sums up the words of a sentence, and the sentences of a
        document; "by_query:hidden=100" is the published attention with a context of 100 numbers.
      dropout_rate: of the embeddings, of sentences and of what is classified.
    """

    vocabulary_size: int
    num_classes: int
    width: int = 200
    words: RecurrentOptions = GRU
    sentences: RecurrentOptions = GRU
    word_pooling: str = "by_query:hidden=100"
    sentence_pooling: str = "by_query:hidden=100"
    dropout_rate: float = 0.0

    reads: ClassVar[tuple[str, ...]] = ("document",)
    may_read: ClassVar[tuple[str, ...]] = ("sentence_lengths", "lengths")
    looks: ClassVar[tuple[Looked, ...]] = (
        Looked("word_pooling", "Words of each sentence", "document"),
        Looked("sentence_pooling", "Sentences of the document", "document", whole=True),
    )
    parameter_rules = PARAMETER_RULES

    @nn.compact
    def __call__(
        self,
        document: Int[Array, "B S W"],
        *,
        sentence_lengths: Int[Array, "B S"] | None = None,
        lengths: Int[Array, " B"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B C"]:
        """Returns the logits of the classes, float32 [B, num_classes].

        Args:
          document: [B, S, W], each smaller than V.
          sentence_lengths: [B, S], how many words of each sentence, from the first, are real; None: all are. A sentence
            without a word takes no part in the sum of its document.
          lengths: [B], how many sentences of each document, from the first, are real; None: all are. A document
            without a sentence is summed up by 0.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: there is no such pooling, or it cannot do what is asked.
        """
        if document.ndim != 3:
            raise Refused(f"model han reads documents of sentences [B, S, W], not {document.shape}.")
        batch, sentences, words = document.shape
        if sentence_lengths is None:
            sentence_lengths = jnp.full((batch, sentences), words)
        lengths = lengths_of(document, lengths)
        # What stands behind the last sentence is padding, whatever its own length says.
        sentence_lengths = jnp.where(is_real(sentences, lengths), sentence_lengths, 0)
        vectors = self._of_sentences(document, sentence_lengths, deterministic=deterministic)
        states = Recurrent(self.sentences, name="sentences")(vectors, lengths=lengths, deterministic=deterministic)
        summed = Pooling(self.sentence_pooling, name="sentence_pooling")(states.outputs, mask=sentence_lengths > 0)
        summed = nn.Dropout(self.dropout_rate)(summed, deterministic=deterministic)
        return nn.Dense(self.num_classes, name="head")(summed).astype(jnp.float32)

    def _of_sentences(
        self, tokens: Int[Array, "B S W"], lengths: Int[Array, "B S"], *, deterministic: bool
    ) -> Float[Array, "B S E"]:
        """Returns a vector of each sentence, 0 of one without a word."""
        batch, sentences, words = tokens.shape
        dropout = nn.Dropout(self.dropout_rate)
        init = nn.initializers.normal(self.width**-0.5)
        embed = TokenEmbedding(self.vocabulary_size, self.width, embedding_init=init, name="token")
        vectors = dropout(embed(tokens.reshape(batch * sentences, words)), deterministic=deterministic)
        of_each = lengths.reshape(batch * sentences)
        states = Recurrent(self.words, name="words")(vectors, lengths=of_each, deterministic=deterministic)
        mask = is_real(words, of_each)
        summed = Pooling(self.word_pooling, name="word_pooling")(states.outputs, mask=mask)
        return dropout(summed.reshape(batch, sentences, -1), deterministic=deterministic)
