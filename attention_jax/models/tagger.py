"""A tagger of words: a BiLSTM over words and their characters (Lample et al. 2016; Ma & Hovy 2016), which may read a
language model's layers (Peters et al. 2018) and let its words see each other by any attention.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels import Padding
from attention_jax.layers import Recurrent, RecurrentOptions, Seen, StackOptions, stack
from attention_jax.layers.bilm import PARAMETER_RULES, BilmLayers, BilmOptions, ScalarMix
from attention_jax.layers.mixer import mixer
from attention_jax.layers.words import Words
from attention_jax.models.catalogue import register


@register("tagger")
class Tagger(nn.Module, kw_only=True):
    """Gives each word a tag, from its own state of a BiLSTM.

    A run takes the language model from another by `init`: source the other's folder, rename (("output/.*", ""),), skip
    ("(words|encoder|mix|head).*",). It is frozen by optimizer.freeze=("bilm/.*",).

    Attributes:
      vocabulary_size: V, a fact of the data.
      character_vocabulary_size: a fact of the data; 0 where characters are not read.
      num_classes: a fact of the data.
      width: of a word's own vector.
      filters: of the convolution over a word's characters.
      highways: how many highway layers follow both.
      encoder: the options of the LSTM.
      attention: the spec by which words see each other above it, in both directions, added to their states; None: not.
      num_heads: of that attention.
      bilm: the options of the language model whose layers are mixed and read beside each word; num_layers 0 is without.
      dropout_rate: of what goes into the LSTM, and out of it.
    """

    vocabulary_size: int
    character_vocabulary_size: int
    num_classes: int
    width: int = 100
    filters: int = 64
    highways: int = 1
    encoder: RecurrentOptions = RecurrentOptions(width=128, bidirectional=True)
    attention: str | None = None
    num_heads: int = 4
    bilm: BilmOptions = BilmOptions(num_layers=0)
    dropout_rate: float = 0.3

    reads: ClassVar[tuple[str, ...]] = ("tokens",)
    may_read: ClassVar[tuple[str, ...]] = ("lengths", "characters")
    parameter_rules: ClassVar[tuple[tuple[str, tuple[str | None, ...]], ...]] = (
        *PARAMETER_RULES,
        *stack.PARAMETER_RULES,
    )

    @nn.compact
    def __call__(
        self,
        tokens: Int[Array, "B T"],
        *,
        lengths: Int[Array, " B"] | None = None,
        characters: Int[Array, "B T C"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B T K"]:
        """Returns the logits of the tags of each word, float32 [B, T, K].

        Args:
          tokens: [B, T], each smaller than V.
          lengths: [B], how many words of each sentence, from the first, are real; None: all are.
          characters: [B, T, C], those of each word, 0 beyond them.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: a language model is to be read and the data set has no characters, or the attention refuses.
        """
        dropout = nn.Dropout(self.dropout_rate, deterministic=deterministic)
        embed = Words(
            self.vocabulary_size,
            self.width,
            self.character_vocabulary_size,
            filters=self.filters,
            highways=self.highways,
            name="words",
        )
        words = embed(tokens, characters)
        if self.bilm.num_layers:
            if characters is None or not self.character_vocabulary_size:
                raise Refused("model tagger reads a bilm, which reads characters: set data.characters, such as 20.")
            layers = BilmLayers(self.bilm, self.character_vocabulary_size, name="bilm")
            mixed = ScalarMix(name="mix")(layers(characters, lengths, deterministic=deterministic))
            words = jnp.concatenate([words, mixed], axis=-1)
        encode = Recurrent(self.encoder, name="encoder")
        hidden = encode(dropout(words), lengths=lengths, deterministic=deterministic).outputs
        if self.attention is not None:
            hidden = hidden + self._attended(hidden, lengths, deterministic=deterministic)
        return nn.Dense(self.num_classes, name="head")(dropout(hidden)).astype(jnp.float32)

    def _attended(
        self, hidden: Float[Array, "B T D"], lengths: Int[Array, " B"] | None, *, deterministic: bool
    ) -> Float[Array, "B T D"]:
        assert self.attention is not None
        options = StackOptions(width=hidden.shape[-1], num_heads=self.num_heads, positions=None)
        seen = Seen(None if lengths is None else Padding(lengths))
        return mixer(self.attention, options, 1, seen)(hidden, seen, deterministic=deterministic).out
