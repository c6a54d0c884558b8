"""A convolutional network over a text (Kim 2014), with attention before the convolution, after it, or neither.

Before it: each token's vector stands beside what it gathers from the others by self-attention, as a second channel (the
place that ABCNN-1 has for it, within one text). After it: the places are summed up by any pooling, such as
"by_query", "mean", or Kim's "max_pooling". With a reader, an LSTM over the text gives the query whose keys and values
are the places of the convolution.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels import Padding
from attention_jax.layers import Attention, Pooling, Recurrent, RecurrentOptions, Seen, StackOptions, TokenEmbedding
from attention_jax.layers.looked import Looked
from attention_jax.layers.padding import lengths_of, masked
from attention_jax.layers.product import product
from attention_jax.layers.stack import PARAMETER_RULES as OF_ATTENTION
from attention_jax.models.catalogue import register

PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    *OF_ATTENTION,
    (r"reader/\w+/(input|recurrent)_kernel", ("fsdp",)),
    (r"reader/\w+/(input|candidate)_bias", ()),
    (r"convolution_\d+/kernel", ("fsdp",)),
    (r"convolution_\d+/bias", ()),
)


@register("cnn_classifier")
class CnnClassifier(nn.Module, kw_only=True):
    """Embeds tokens, convolves them, classifies what sums up the places.

    Attributes:
      vocabulary_size: V, a fact of the data.
      num_classes: C, a fact of the data.
      width: of embeddings.
      filters: of each window.
      windows: the tokens that the convolutions see, side by side.
      attention: the spec of the self-attention of the embeddings before the convolution; None is none.
      num_heads: of it.
      pooling: the spec of the pooling of the places.
      query_width: units of the LSTM over the text whose last state is the query of the pooling; 0 is no query.
      dropout_rate: of the embeddings, and of what is classified.
    """

    vocabulary_size: int
    num_classes: int
    width: int = 128
    filters: int = 100
    windows: tuple[int, ...] = (3, 4, 5)
    attention: str | None = None
    num_heads: int = 4
    pooling: str = "max_pooling"
    query_width: int = 0
    dropout_rate: float = 0.0

    reads: ClassVar[tuple[str, ...]] = ("tokens",)
    may_read: ClassVar[tuple[str, ...]] = ("lengths",)
    looks: ClassVar[tuple[Looked, ...]] = (
        Looked("attention", "Attention before the convolution", "tokens", rows="tokens"),
        Looked("pooling", "Places in the sum", "tokens"),
    )
    parameter_rules = PARAMETER_RULES

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "B T"], *, lengths: Int[Array, " B"] | None = None, deterministic: bool = True
    ) -> Float[Array, "B C"]:
        """Returns the logits of the classes, float32 [B, num_classes].

        Args:
          tokens: [B, T], each smaller than V.
          lengths: [B], how many tokens of each text, from the first, are real; None: all are.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: there is no such mechanism, it cannot do what is asked, or a size leaves nothing to compute.
        """
        self._check()
        lengths = lengths_of(tokens, lengths)
        dropout = nn.Dropout(self.dropout_rate)
        init = nn.initializers.normal(self.width**-0.5)
        vectors = TokenEmbedding(self.vocabulary_size, self.width, embedding_init=init, name="token")(tokens)
        vectors = dropout(vectors, deterministic=deterministic)
        channels = self._channels(vectors, lengths, deterministic=deterministic)
        places = self._convolved(channels, lengths)
        query = None
        if self.query_width:
            reader = Recurrent(RecurrentOptions(cell="lstm", width=self.query_width), name="reader")
            query = reader(vectors, lengths=lengths, deterministic=deterministic).last()
        summed = Pooling(self.pooling, name="pooling")(places, mask=Padding(lengths), query=query)
        summed = dropout(summed, deterministic=deterministic)
        return nn.Dense(self.num_classes, name="head")(summed).astype(jnp.float32)

    def _check(self) -> None:
        for name in ("width", "filters", "num_heads"):
            if getattr(self, name) < 1:
                raise Refused(f"model cnn_classifier has {name}={getattr(self, name)}: give at least 1.")
        if not self.windows or min(self.windows) < 1 or len({*self.windows}) < len(self.windows):
            raise Refused(
                f"model cnn_classifier has windows={self.windows}: give the tokens that each convolution sees, at "
                "least 1 and each once, such as (3, 4, 5)."
            )
        if self.query_width < 0:
            raise Refused(f"model cnn_classifier has query_width={self.query_width}: give 0, for no query, or more.")

    def _channels(
        self, vectors: Float[Array, "B T D"], lengths: Int[Array, " B"], *, deterministic: bool
    ) -> Float[Array, "B T E"]:
        """Returns what is convolved: the embeddings, and beside them what each gathers from the others."""
        if self.attention is None:
            return vectors
        options = StackOptions(width=self.width, num_heads=self.num_heads)
        attend = Attention(self.attention, options, name="attention")
        gathered = attend(vectors, Seen(Padding(lengths)), deterministic=deterministic).out
        return jnp.concatenate([vectors, gathered], axis=-1)

    def _convolved(self, channels: Float[Array, "B T E"], lengths: Int[Array, " B"]) -> Float[Array, "B T F"]:
        """Returns a vector of each token and its neighbours, of each window the outputs side by side."""
        tokens = channels.shape[1]
        channels = masked(channels, lengths)
        places = []
        for window in self.windows:
            wide = jnp.pad(channels, ((0, 0), ((window - 1) // 2, window // 2), (0, 0)))
            seen = jnp.concatenate([wide[:, start : start + tokens] for start in range(window)], axis=-1)
            places.append(nn.relu(nn.Dense(self.filters, dot_general=product, name=f"convolution_{window}")(seen)))
        return jnp.concatenate(places, axis=-1)
