"""A language model in both directions over words that are spelt: Peters et al. 2018, sections 3.1 and 3.4."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.layers.bilm import PARAMETER_RULES, BilmLayers, BilmOptions
from attention_jax.layers.product import product
from attention_jax.models.catalogue import register


@register("bilm")
class Bilm(nn.Module, kw_only=True):
    """Predicts of each word the one after it, from those up to it, and the one before it, from those after it.

    Both directions have one output layer. Its parameters below "bilm" are those of a tagger that reads it.

    Attributes:
      vocabulary_size: V, a fact of the data.
      character_vocabulary_size: a fact of the data.
      bilm: the options of its layers.
    """

    vocabulary_size: int
    character_vocabulary_size: int
    bilm: BilmOptions = BilmOptions()

    reads: ClassVar[tuple[str, ...]] = ("characters",)
    may_read: ClassVar[tuple[str, ...]] = ("lengths",)
    parameter_rules: ClassVar[tuple[tuple[str, tuple[str | None, ...]], ...]] = (
        *PARAMETER_RULES,
        ("output/kernel", ("fsdp",)),
        ("output/bias", ()),
    )

    @nn.compact
    def __call__(
        self, characters: Int[Array, "B T C"], *, lengths: Int[Array, " B"] | None = None, deterministic: bool = True
    ) -> Float[Array, "B T 2 V"]:
        """Returns the logits of the next word and of the one before, float32 [B, T, 2, V].

        Args:
          characters: [B, T, C], those of each word, 0 beyond them.
          lengths: [B], how many words of each sentence, from the first, are real; None: all are.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: there is no layer, or no character.
        """
        if not self.bilm.num_layers or not self.character_vocabulary_size:
            raise Refused("model bilm has no layer, or the data set no characters: set model.bilm.num_layers=2.")
        layers = BilmLayers(self.bilm, self.character_vocabulary_size, name="bilm")
        last = layers(characters, lengths, deterministic=deterministic)[-1]
        both = last.reshape(*last.shape[:2], 2, self.bilm.width)
        dropped = nn.Dropout(self.bilm.dropout_rate)(both, deterministic=deterministic)
        return nn.Dense(self.vocabulary_size, dot_general=product, name="output")(dropped).astype(jnp.float32)
