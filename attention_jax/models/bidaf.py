"""BiDAF: Seo et al. 2016, section 2. Where in a passage a question is answered.

Words and characters go through a BiLSTM to H of the passage and U of the question; the pair mechanism "bidaf" gives
what each word takes of the question, U~, and what the question takes of the passage, h~; G = [H; U~; H * U~; H * h~]; M
is two BiLSTMs over G. The start is softmax(w_1 [G; M]), the end softmax(w_2 [G; M_2]) with M_2 one BiLSTM more.
"""

from dataclasses import replace
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels import Padding
from attention_jax.layers import Recurrent, RecurrentOptions, recurrent, words
from attention_jax.layers.looked import Looked
from attention_jax.layers.padding import is_real, lengths_of
from attention_jax.layers.pairing import Pairing
from attention_jax.layers.words import Words
from attention_jax.models.catalogue import register

PARAMETER_RULES = (
    *recurrent.PARAMETER_RULES,
    *words.PARAMETER_RULES,
    (r"flow/pair_\w+", ()),
    ("(start|end)/(kernel|bias)", ()),
)


@register("bidaf")
class Bidaf(nn.Module, kw_only=True):
    """Points to the first and to the last token of the answer.

    Attributes:
      vocabulary_size: V, a fact of the data.
      character_vocabulary_size: a fact of the data; 0 where characters are not read.
      passage_length: the most tokens of a passage, a fact of the data.
      width: of a word's vector.
      filters: of the convolution over characters.
      highways: how many highway layers.
      encoder: the options of the BiLSTM over words.
      modelling: those of the BiLSTM over G; the one before the end has one layer of its kind.
      pair: the spec of a pair mechanism that gives each token of the passage a vector; of the question's, one for the
        whole is read.
      dropout_rate: of what goes into each of the three.
    """

    vocabulary_size: int
    character_vocabulary_size: int
    passage_length: int
    width: int = 100
    filters: int = 100
    highways: int = 2
    encoder: RecurrentOptions = RecurrentOptions(width=100, bidirectional=True)
    modelling: RecurrentOptions = RecurrentOptions(width=100, num_layers=2, bidirectional=True, dropout_rate=0.2)
    pair: str = "bidaf"
    dropout_rate: float = 0.2

    reads: ClassVar[tuple[str, ...]] = ("passage", "question")
    may_read: ClassVar[tuple[str, ...]] = (
        "passage_lengths",
        "question_lengths",
        "passage_characters",
        "question_characters",
    )
    looks: ClassVar[tuple[Looked, ...]] = (Looked("flow", "Passage and question", "question", rows="passage"),)
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
          Refused: the pair mechanism gives no vector of each token of the passage.
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
        encoded = [
            encode(dropout(embed(*text)), lengths=of, deterministic=deterministic).outputs
            for text, of in zip(texts, lengths, strict=True)
        ]
        flow = dropout(self._flow(encoded, lengths))
        model, before_end = self.modelling, replace(self.modelling, num_layers=1)
        modelled = Recurrent(model, name="modelling")(flow, lengths=lengths[0], deterministic=deterministic).outputs
        after = Recurrent(before_end, name="before_end")(dropout(modelled), lengths=lengths[0]).outputs
        logits = [
            nn.Dense(1, name=name)(dropout(jnp.concatenate([flow, hidden], axis=-1)))
            for name, hidden in (("start", modelled), ("end", after))
        ]
        return masked_logits(jnp.concatenate(logits, axis=-1), lengths[0])

    def _flow(self, encoded: list[Float[Array, "B T D"]], lengths: list[Int[Array, " B"]]) -> Float[Array, "B T G"]:
        """Returns G, without what the question takes of the passage where the mechanism gives no such vector."""
        passage, question = encoded
        masks = [Padding(of) for of in lengths]
        paired = Pairing(self.pair, max(self.passage_length, question.shape[1]), name="flow")(
            passage, question, first_mask=masks[0], second_mask=masks[1]
        )
        if paired.first.shape != passage.shape:
            raise Refused(
                f"model.pair={self.pair!r} gives {paired.first.shape} of a passage of {passage.shape}, and a vector of "
                "each token is needed: use bidaf or decomposable."
            )
        joined = [passage, paired.first, passage * paired.first]
        if paired.second.ndim == 2:
            joined.append(passage * paired.second[:, None])
        return jnp.concatenate(joined, axis=-1)


def masked_logits(logits: Float[Array, "B T N"], lengths: Int[Array, " B"]) -> Float[Array, "B T N"]:
    """Returns logits in float32, the lowest there is at padding."""
    logits = logits.astype(jnp.float32)
    return jnp.where(is_real(logits.shape[1], lengths)[..., None], logits, jnp.finfo(jnp.float32).min)
