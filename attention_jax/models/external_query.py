"""Where in a passage a question is answered, the question being one vector q: attention with an external query.

Two ways to ask with q, on the same encodings h_t of words and characters by a BiLSTM. "concatenated" puts q beside
every token, and a layer gives both ends. A pooling that takes a query, "by_query" (general attention, Luong et al.
2015, equation 8), points: its weights softmax(q W h_t) are the probabilities of the start, and the mean that it takes
goes beside q to ask for the end, as Wang & Jiang 2017 do (Machine Comprehension Using Match-LSTM, boundary model).
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels import Padding, pool
from attention_jax.kernels.arrays import SequenceSizes
from attention_jax.kernels.pool import Pooled, declared_arrays
from attention_jax.layers import Recurrent, RecurrentOptions, recurrent, words
from attention_jax.layers.attention import LOOKED_AT
from attention_jax.layers.owned import owned_arrays
from attention_jax.layers.padding import lengths_of
from attention_jax.layers.product import product
from attention_jax.layers.words import Words
from attention_jax.models.bidaf import masked_logits
from attention_jax.models.catalogue import register

PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    *recurrent.PARAMETER_RULES,
    *words.PARAMETER_RULES,
    (r"(start|end)/pooling_\w+", ()),
    ("hidden/kernel", ("fsdp",)),
    ("hidden/bias", ()),
    ("ends/(kernel|bias)", ()),
)
CONCATENATED = "concatenated"


@register("external_query")
class ExternalQuery(nn.Module, kw_only=True):
    """Points to the first and to the last token of the answer.

    Attributes:
      vocabulary_size: V, a fact of the data.
      character_vocabulary_size: a fact of the data; 0 where characters are not read.
      query: "concatenated", or the spec of a pooling that takes a query, such as "by_query".
      width: of a word's vector.
      filters: of the convolution over characters.
      highways: how many highway layers.
      encoder: the options of the BiLSTM over words, which reads both texts; q is its last states.
      hidden: units of the layer over a token and q, of "concatenated".
      dropout_rate: of what goes into the BiLSTM and what comes out of it.
    """

    vocabulary_size: int
    character_vocabulary_size: int
    query: str = "by_query"
    width: int = 100
    filters: int = 100
    highways: int = 2
    encoder: RecurrentOptions = RecurrentOptions(width=100, bidirectional=True)
    hidden: int = 100
    dropout_rate: float = 0.2

    reads: ClassVar[tuple[str, ...]] = ("passage", "question")
    may_read: ClassVar[tuple[str, ...]] = (
        "passage_lengths",
        "question_lengths",
        "passage_characters",
        "question_characters",
    )
    parameter_rules = PARAMETER_RULES

    @nn.compact
    def __call__(
        self,
        passage: Int[Array, "B T"],
        question: Int[Array, "B J"],
        *,
        passage_lengths: Int[Array, " B"] | None = None,
        question_lengths: Int[Array, " B"] | None = None,
        passage_characters: Int[Array, "B T C"] | None = None,
        question_characters: Int[Array, "B J C"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B T 2"]:
        """Returns the logits of the start and of the end of the answer at each token, float32; lowest at padding.

        Args:
          passage, question: [B, T] and [B, J], each smaller than V.
          passage_lengths, question_lengths: [B], how many tokens of each, from the first, are real; None: all are.
          passage_characters, question_characters: [B, T, C] and [B, J, C], those of each token, 0 beyond them.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: there is no such pooling, or it takes no query or gives no weights.
        """
        lengths = [lengths_of(passage, passage_lengths), lengths_of(question, question_lengths)]
        dropout = nn.Dropout(self.dropout_rate, deterministic=deterministic)
        embed = Words(
            self.vocabulary_size,
            self.width,
            self.character_vocabulary_size,
            filters=self.filters,
            highways=self.highways,
            name="words",
        )
        encode = Recurrent(self.encoder, name="encoder")
        texts = ((passage, passage_characters), (question, question_characters))
        tokens, asked = (
            encode(dropout(embed(*text)), lengths=of, deterministic=deterministic)
            for text, of in zip(texts, lengths, strict=True)
        )
        outputs, query = dropout(tokens.outputs), dropout(asked.last(1 + self.encoder.bidirectional))
        if self.query == CONCATENATED:
            beside = jnp.broadcast_to(query[:, None], (*outputs.shape[:2], query.shape[-1]))
            hidden = nn.Dense(self.hidden, dot_general=product, name="hidden")
            inner = nn.relu(hidden(jnp.concatenate([outputs, beside], axis=-1)))
            return masked_logits(nn.Dense(2, name="ends")(inner), lengths[0])
        return masked_logits(self._pointed(outputs, query, lengths[0]), lengths[0])

    def _pointed(
        self, outputs: Float[Array, "B T D"], query: Float[Array, "B Q"], lengths: Int[Array, " B"]
    ) -> Float[Array, "B T 2"]:
        start = _Asked(self.query, name="start")(outputs, query, lengths)
        end = _Asked(self.query, name="end")(outputs, jnp.concatenate([query, start.out], axis=-1), lengths)
        weights = []
        for found in (start, end):
            if found.weights is None or found.weights.shape[1] != 1:
                raise Refused(f"model.query={self.query!r} gives no one weight for each token: use by_query.")
            weights.append(found.weights[:, 0])
        both = jnp.stack(weights, axis=-1)
        if self.is_mutable_collection(LOOKED_AT) and not self.is_initializing():
            self.sow(LOOKED_AT, "weights", both.transpose(0, 2, 1)[:, :, None])
        # Of a weight that is 0 the logarithm has neither a value nor a derivative.
        return jnp.log(jnp.maximum(both, jnp.finfo(jnp.float32).tiny))


class _Asked(nn.Module):
    """What a pooling gives of a passage that is asked.

    Attributes:
      pooling: its spec.
    """

    pooling: str

    @nn.compact
    def __call__(self, hidden: Float[Array, "B T D"], query: Float[Array, "B Q"], lengths: Int[Array, " B"]) -> Pooled:
        sizes = SequenceSizes(hidden.shape[-1], query.shape[-1])
        params = owned_arrays(self, declared_arrays(self.pooling, with_query=True), sizes, name_of="pooling_{}".format)
        return pool(hidden, pooling=self.pooling, params=params, mask=Padding(lengths), query=query)
