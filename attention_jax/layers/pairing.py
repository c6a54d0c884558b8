"""Two texts: embedded alike, and seen by each other by any pair mechanism."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.kernels import Padding
from attention_jax.kernels.arrays import SequenceSizes
from attention_jax.kernels.attend_pair import Paired, attend_pair, lookup_pair
from attention_jax.layers.attention import LOOKED_AT
from attention_jax.layers.embeddings import TokenEmbedding
from attention_jax.layers.owned import owned_arrays
from attention_jax.layers.padding import is_real, masked

PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    (r"(.*/)?token/embedding", (None, "fsdp")),
    (r"(.*/)?shared", ()),
    (r"(.*/)?pair_\w+", ()),
)


class Pairing(nn.Module):
    """Lets two sequences see each other by a pair mechanism, whose arrays it owns: they are named "pair_...".

    Where the caller makes that collection mutable, `LOOKED_AT` has the "weights" [B, 1, T, S]: of each token of the
    first sequence its shares of the second's, or the affinity of a pair that has no such shares.

    Attributes:
      pair: the spec of the mechanism.
      length: the longest sequence, for a mechanism with a number for each place.
    """

    pair: str
    length: int

    @nn.compact
    def __call__(
        self,
        first: Float[Array, "B T D"],
        second: Float[Array, "B S D"],
        *,
        first_mask: Padding | None = None,
        second_mask: Padding | None = None,
    ) -> Paired:
        """Returns what `attend_pair` does.

        Args:
          first: [B, T, D].
          second: [B, S, D].
          first_mask, second_mask: which tokens are real; None: all are.

        Raises:
          Refused: there is no such mechanism, or a sequence is longer than `length` where it has a number for each.
        """
        declared = lookup_pair(self.pair).made.arrays
        sizes = SequenceSizes(first.shape[-1], length=self.length)
        params = owned_arrays(self, declared, sizes, name_of="pair_{}".format)
        paired = attend_pair(
            first, second, pair=self.pair, params=params, first_mask=first_mask, second_mask=second_mask
        )
        if self.is_mutable_collection(LOOKED_AT) and not self.is_initializing():
            shares = paired.second_weights
            weights = shares if shares is not None and shares.ndim == 3 else paired.affinity
            self.sow(LOOKED_AT, "weights", weights[:, None].astype(jnp.float32))
        return paired


class PairEmbedding(nn.Module):
    """Embeds two texts by one table, and may mark what they share.

    Attributes:
      vocabulary_size: V.
      width: D.
      shared_words: whether a learned vector is added to each token that the other text has too.
      dropout_rate: of the vectors.
    """

    vocabulary_size: int
    width: int
    shared_words: bool = False
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(
        self, texts: list[Int[Array, "B T"]], lengths: list[Int[Array, " B"]], *, deterministic: bool = True
    ) -> list[Float[Array, "B T D"]]:
        """Returns the vectors of both texts, 0 at padding.

        Args:
          texts: two, each smaller than V.
          lengths: of both, [B].
          deterministic: no dropout; otherwise the rng "dropout" is used.
        """
        init = nn.initializers.normal(self.width**-0.5)
        table = TokenEmbedding(self.vocabulary_size, self.width, embedding_init=init, name="token")
        vectors = [table(text) for text in texts]
        if self.shared_words:
            shared = self.param("shared", init, (self.width,))
            real = [is_real(text.shape[1], of) for text, of in zip(texts, lengths, strict=True)]
            same = (texts[0][:, :, None] == texts[1][:, None]) & real[0][:, :, None] & real[1][:, None]
            both = zip(vectors, (same.any(2), same.any(1)), strict=True)
            vectors = [vector + jnp.where(there[..., None], shared, 0) for vector, there in both]
        dropout = nn.Dropout(self.dropout_rate)
        dropped = [dropout(vector, deterministic=deterministic) for vector in vectors]
        return [masked(vector, of) for vector, of in zip(dropped, lengths, strict=True)]
