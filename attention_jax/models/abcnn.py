"""ABCNN: Yin et al. 2016. Two texts through one convolutional network whose blocks see the other text.

A block is a wide convolution with tanh (section 3: a place for each window that holds a token) and w-ap, an average
over windows, after which there is a place for each token again. Attention enters before the convolution, as a second
channel (ABCNN-1), at w-ap, as the weights of a sum (ABCNN-2), or at both (ABCNN-3); at neither it is BCNN. What is
classified are similarities of the two texts by all-ap, an average over places, of the embeddings and of each block.

The paper feeds all-ap from a convolution, and does not say how ABCNN-2 weighs it; here it averages what w-ap gives, so
that the attention of the last block has an effect.
"""

from typing import ClassVar, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.kernels import Padding
from attention_jax.layers import pairing
from attention_jax.layers.defaults import norm
from attention_jax.layers.looked import Looked
from attention_jax.layers.padding import lengths_of, masked
from attention_jax.layers.pairing import PairEmbedding, Pairing
from attention_jax.layers.product import product
from attention_jax.models.catalogue import register

PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    *pairing.PARAMETER_RULES,
    (r"(convolution_\d+|hidden)/kernel", ("fsdp",)),
    (r"(convolution_\d+|hidden)/bias", ()),
    ("norm/(scale|bias)", ()),
    ("head/(kernel|bias)", ()),
)
COMPARED = ("similarity", "vectors")

# Of the first text, and of the second.
Texts: TypeAlias = list[Float[Array, "B T D"]]
Lengths: TypeAlias = list[Int[Array, " B"]]


@register("abcnn")
class Abcnn(nn.Module, kw_only=True):
    """Classifies two texts, or gives them a score, as ABCNN-3.

    Attributes:
      vocabulary_size: V, a fact of the data.
      length: the most tokens of a text, a fact of the data.
      num_classes: C, a fact of the data; 1 for a score.
      width: D, of embeddings.
      filters: of each convolution.
      window: w, tokens that a convolution sees, and places that w-ap joins.
      num_layers: how many blocks.
      channel: the spec of a pair mechanism that gives each token a vector of width D, a second channel of what is
        convolved: "abcnn_1" of ABCNN-1 and ABCNN-3; None is no such channel.
      pooling: the spec of a pair mechanism that makes T places of T + w - 1: "abcnn_2" of ABCNN-2 and ABCNN-3, with the
        window w; None is the average.
      compared: what is classified: "similarity", the cosine and 1 / (1 + distance) of each all-ap, as published; or
        "vectors", their differences |u - v| and products u v, normalised, too.
      hidden: units of a layer before the classifier; 0 is none, as published.
      shared_words: whether a learned vector is added to each token that the other text has too.
      dropout_rate: of the embeddings and of what is classified.
    """

    vocabulary_size: int
    length: int
    num_classes: int
    width: int = 50
    filters: int = 50
    window: int = 3
    num_layers: int = 2
    channel: str | None = "abcnn_1"
    pooling: str | None = "abcnn_2"
    compared: str = "similarity"
    hidden: int = 0
    shared_words: bool = False
    dropout_rate: float = 0.0

    reads: ClassVar[tuple[str, ...]] = ("first", "second")
    may_read: ClassVar[tuple[str, ...]] = ("first_lengths", "second_lengths")
    looks: ClassVar[tuple[Looked, ...]] = (
        Looked(r"channel_\d+", "Before the convolution", "second", rows="first"),
        Looked(r"weights_\d+", "Places of the convolution", "second", rows="first"),
    )
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
          Refused: an option cannot be used, or a mechanism cannot do its work.
        """
        self._check()
        lengths = [lengths_of(first, first_lengths), lengths_of(second, second_lengths)]
        embed = PairEmbedding(self.vocabulary_size, self.width, self.shared_words, self.dropout_rate, name="embedding")
        texts = embed([first, second], lengths, deterministic=deterministic)
        levels = [_averages(texts, lengths)]
        for layer in range(1, self.num_layers + 1):
            texts = self._block(texts, lengths, layer)
            levels.append(_averages(texts, lengths))
        return self._classified(levels, deterministic=deterministic)

    def _check(self) -> None:
        for name in ("width", "filters", "window", "num_layers"):
            if getattr(self, name) < 1:
                raise Refused(f"model abcnn has {name}={getattr(self, name)}: give at least 1.")
        if self.compared not in COMPARED:
            raise Refused(f"model abcnn compares no {self.compared!r}.{did_you_mean(str(self.compared), COMPARED)}")

    def _block(self, texts: Texts, lengths: Lengths, layer: int) -> Texts:
        """Returns what a block makes of both texts, [B, T, filters] and [B, S, filters]."""
        w = self.window
        if self.channel is not None:
            maps = self._paired(f"channel_{layer}", self.channel, texts, lengths)
            self._check_places("channel", self.channel, maps, [text.shape for text in texts])
            texts = [jnp.concatenate(two, axis=-1) for two in zip(texts, maps, strict=True)]
        convolve = nn.Dense(self.filters, dot_general=product, name=f"convolution_{layer}")
        # A text without a token has no window that holds one.
        places = [jnp.where(of > 0, of + w - 1, 0) for of in lengths]
        convolved = [masked(jnp.tanh(convolve(_windows(text, w))), of) for text, of in zip(texts, places, strict=True)]
        if self.pooling is None:
            return [masked(_sums(text, w) / w, of) for text, of in zip(convolved, lengths, strict=True)]
        pooled = self._paired(f"weights_{layer}", self._at_window(self.pooling), convolved, places)
        wanted = [(*text.shape[:2], self.filters) for text in texts]
        self._check_places("pooling", self.pooling, pooled, wanted)
        return pooled

    def _paired(self, name: str, spec: str, texts: Texts, lengths: Lengths) -> Texts:
        first_mask, second_mask = map(Padding, lengths)
        see = Pairing(spec, self.length + self.window - 1, name=name)
        paired = see(*texts, first_mask=first_mask, second_mask=second_mask)
        return [paired.first, paired.second]

    def _at_window(self, spec: str) -> str:
        if "window=" in spec or spec not in ("abcnn_2", "abcnn_3"):
            return spec
        return f"{spec}:window={self.window}"

    def _check_places(self, field: str, spec: str, found: Texts, wanted: list[tuple[int, ...]]) -> None:
        if [text.shape for text in found] != wanted:
            raise Refused(
                f"model.{field}={spec!r} gives {' and '.join(str(text.shape) for text in found)}, and here "
                f"{' and '.join(map(str, wanted))} is needed: use {'abcnn_1' if field == 'channel' else 'abcnn_2'}, or "
                "model pair_classifier, which takes any pair mechanism."
            )

    def _classified(self, levels: list[list[Array]], *, deterministic: bool) -> Float[Array, "B C"]:
        features = jnp.concatenate([_similarities(*both) for both in levels], axis=-1)
        if self.compared == "vectors":
            vectors = [array for u, v in levels for array in (jnp.abs(u - v), u * v)]
            normed = norm("layer", dtype=jnp.dtype(jnp.float32), name="norm")(jnp.concatenate(vectors, axis=-1))
            features = jnp.concatenate([features, normed], axis=-1)
        dropout = nn.Dropout(self.dropout_rate)
        features = dropout(features, deterministic=deterministic)
        if self.hidden:
            features = nn.relu(nn.Dense(self.hidden, dot_general=product, name="hidden")(features))
            features = dropout(features, deterministic=deterministic)
        return nn.Dense(self.num_classes, name="head")(features).astype(jnp.float32)


def _windows(text: Float[Array, "B T D"], window: int) -> Float[Array, "B P E"]:
    """Returns the tokens j - w + 1 to j side by side, for each place j of T + w - 1, 0 beyond the text."""
    tokens = text.shape[1]
    wide = jnp.pad(text, ((0, 0), (window - 1, window - 1), (0, 0)))
    return jnp.concatenate([wide[:, start : start + tokens + window - 1] for start in range(window)], axis=-1)


def _sums(text: Float[Array, "B P D"], window: int) -> Float[Array, "B T D"]:
    """Returns the sum over places j to j + w - 1, for each place j of P - w + 1."""
    places = text.shape[1] - window + 1
    return sum((text[:, start : start + places] for start in range(1, window)), text[:, :places])


def _averages(texts: Texts, lengths: Lengths) -> list[Float[Array, "B D"]]:
    """Returns all-ap of both texts, whose padding is 0."""
    return [text.sum(1) / jnp.maximum(of, 1)[:, None] for text, of in zip(texts, lengths, strict=True)]


def _similarities(u: Float[Array, "B D"], v: Float[Array, "B D"]) -> Float[Array, "B 2"]:
    """Returns the cosine and 1 / (1 + the distance) of each row, with finite derivatives at 0 and at equal vectors."""
    tiny = 1e-12
    cosine = (u * v).sum(-1) * jax.lax.rsqrt((u**2).sum(-1) * (v**2).sum(-1) + tiny)
    distance = jnp.sqrt(((u - v) ** 2).sum(-1) + tiny)
    return jnp.stack([cosine, 1 / (1 + distance)], axis=-1)
