"""A language model in both directions, and its layers as features of words: Peters et al. 2018 (ELMo), section 3."""

from collections.abc import Sequence
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.layers import recurrent, words
from attention_jax.layers.padding import masked
from attention_jax.layers.product import product
from attention_jax.layers.recurrent import RecurrentCell, RecurrentOptions
from attention_jax.layers.words import Words

PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    *recurrent.PARAMETER_RULES,
    *words.PARAMETER_RULES,
    (r"(.*/)?projection/kernel", ("fsdp",)),
    (r"(.*/)?projection/bias", ()),
    (r"(.*/)?mix_(weights|scale)", ()),
)


@dataclass(frozen=True, kw_only=True)
class BilmOptions:
    """How a language model in both directions is made.

    Attributes:
      num_layers: L, LSTMs of each direction; 0 is none of it.
      width: W, of their states and of a word.
      filters: of the convolution over the characters of a word.
      character_width: of a character's vector.
      window: characters that the convolution sees.
      highways: how many highway layers follow it.
      dropout_rate: of what goes into each layer.
    """

    num_layers: int = 2
    width: int = 128
    filters: int = 128
    character_width: int = 16
    window: int = 5
    highways: int = 1
    dropout_rate: float = 0.1

    def __post_init__(self) -> None:
        """Checks the sizes; raises Refused where one leaves nothing to compute."""
        for name, least in (("num_layers", 0), ("width", 1), ("filters", 1), ("character_width", 1), ("window", 1)):
            if getattr(self, name) < least:
                raise Refused(f"bilm.{name}={getattr(self, name)}: give at least {least}.")
        if not 0 <= self.dropout_rate < 1:
            raise Refused(f"bilm.dropout_rate={self.dropout_rate}: give a share in [0, 1).")


class BilmLayers(nn.Module):
    """The layers of a language model in both directions, which see each other nowhere but in the words below them.

    Layer 0 is x, a projection of what a convolution and highway layers make of a word's characters. Layer j is an LSTM
    over layer j - 1 in each direction; from the second on its input is added to its output.

    Attributes:
      options: of the layers, L at least 1.
      character_vocabulary_size: how many characters there are.
    """

    options: BilmOptions
    character_vocabulary_size: int

    @nn.compact
    def __call__(
        self, characters: Int[Array, "B T C"], lengths: Int[Array, " B"] | None = None, *, deterministic: bool = True
    ) -> list[Float[Array, "B T E"]]:
        """Returns layers 0 to L, each [B, T, 2 W]: the forward direction, then the backward one; 0 at padding.

        Args:
          characters: [B, T, C], 0 beyond a word's own.
          lengths: [B], how many words of each sentence, from the first, are real; None: all are.
          deterministic: no dropout; otherwise the rng "dropout" is used.
        """
        options = self.options
        embed = Words(
            0,
            0,
            self.character_vocabulary_size,
            character_width=options.character_width,
            filters=options.filters,
            window=options.window,
            highways=options.highways,
            name="words",
        )
        spelt = embed(characters[..., 0], characters)
        word = nn.Dense(options.width, dot_general=product, name="projection")(spelt)
        if lengths is not None:
            word = masked(word, lengths)
        dropout = nn.Dropout(options.dropout_rate, deterministic=deterministic)
        cells = RecurrentOptions(cell="lstm", width=options.width)
        layers, hidden = [jnp.concatenate([word, word], axis=-1)], {"forward": word, "backward": word}
        for layer in range(1, options.num_layers + 1):
            for direction, below in hidden.items():
                cell = RecurrentCell(cells, name=f"{direction}_{layer}")
                above, _ = cell(dropout(below), lengths=lengths, reverse=direction == "backward")
                hidden[direction] = above + below if layer > 1 else above
            layers.append(jnp.concatenate([hidden["forward"], hidden["backward"]], axis=-1))
        return layers


class ScalarMix(nn.Module):
    """A weighted sum of the layers of a language model: Peters et al. 2018, equation 1, gamma sum_j softmax(s)_j h_j.

    Its parameters are "mix_weights", s [L + 1], zeros at the start, and "mix_scale", gamma, 1 at the start.
    """

    @nn.compact
    def __call__(self, layers: Sequence[Float[Array, "B T E"]]) -> Float[Array, "B T E"]:
        """Returns the sum of the L + 1 layers, [B, T, E]."""
        shares = jax.nn.softmax(self.param("mix_weights", nn.initializers.zeros, (len(layers),)))
        scale = self.param("mix_scale", nn.initializers.ones, ())
        return scale * sum(share * layer for share, layer in zip(shares, layers, strict=True))
