"""Recurrent sequence to sequence with attention: Bahdanau et al. 2015, Luong et al. 2015.

A recurrent encoder reads the source in both directions; a recurrent decoder writes the target, and looks at what the
encoder made of each token of the source (`layers.aligned_decoder` has the two forms).
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.kernels.steps import Fixed
from attention_jax.layers import Recurrent, RecurrentOptions, TokenEmbedding, aligned_decoder
from attention_jax.layers.aligned_decoder import LUONG, NONE, AlignedDecoder
from attention_jax.layers.looked import Looked
from attention_jax.layers.padding import lengths_of
from attention_jax.layers.product import product
from attention_jax.models.catalogue import register


@register("seq2seq")
class Seq2Seq(nn.Module, kw_only=True):
    """Predicts each next token of the target from the source and the target before it.

    Attributes:
      vocabulary_size: V, of source and target together, a fact of the data.
      target_length: the largest number of tokens of a target, a fact of the data.
      source_length: the largest number of tokens of a source, a fact of the data.
      begin: the token before the first of a target, a fact of the data.
      end: the token after the last of a target, a fact of the data.
      width: D, of the tokens' vectors.
      encoder: the options of the recurrent layers that read the source.
      decoder: the options of those that write the target.
      form: "luong" or "bahdanau": see `AlignedDecoder`.
      attention: the spec of the attention to the source, "none" or None, or "static".
      input_feeding: of the form "luong": see `AlignedDecoder`.
      share_embeddings: whether source and target have one table of vectors.
      tied_output: whether the logits are products with the target's vectors, of a layer of width D (Press & Wolf 2017).
      dropout_rate: of the tokens' vectors and of what the logits are made of.
    """

    vocabulary_size: int
    source_length: int
    target_length: int
    begin: int
    end: int
    width: int = 256
    encoder: RecurrentOptions = RecurrentOptions(bidirectional=True)
    decoder: RecurrentOptions = RecurrentOptions(width=512)
    form: str = LUONG
    attention: str | None = "general"
    input_feeding: bool = True
    share_embeddings: bool = False
    tied_output: bool = False
    dropout_rate: float = 0.0

    reads: ClassVar[tuple[str, ...]] = ("source", "inputs")
    may_read: ClassVar[tuple[str, ...]] = ("source_lengths", "target_lengths")
    looks: ClassVar[tuple[Looked, ...]] = (Looked("aligned_decoder", "Alignment", "source", rows="inputs"),)
    parameter_rules: ClassVar[tuple[tuple[str, tuple[str | None, ...]], ...]] = (
        *aligned_decoder.PARAMETER_RULES,
        ("(source_)?token/embedding", (None, "fsdp")),
        ("(narrowed|head)/kernel", ("fsdp",)),
        ("(narrowed|head)/bias", ()),
    )

    def setup(self) -> None:
        """Makes the embeddings, the encoder and the decoder."""
        self.token = self._table()
        if not self.share_embeddings:
            self.source_token = self._table()
        self.recurrent_encoder = Recurrent(self.encoder)
        self.aligned_decoder = AlignedDecoder(
            self.decoder, self.source_length, self.form, self.attention or NONE, self.input_feeding
        )
        self.dropout = nn.Dropout(self.dropout_rate)
        if self.tied_output:
            self.narrowed = nn.Dense(self.width, dot_general=product)
        else:
            self.head = nn.Dense(self.vocabulary_size, dot_general=product)

    def __call__(
        self,
        source: Int[Array, "B S"],
        inputs: Int[Array, "B T"],
        *,
        source_lengths: Int[Array, " B"] | None = None,
        target_lengths: Int[Array, " B"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B T V"]:
        """Returns the logits of the token after each token of the target, float32 [B, T, V].

        Args:
          source: [B, S], each smaller than V.
          inputs: [B, T], the target from the token that begins it.
          source_lengths: [B], how many tokens of each source, from the first, are real; None: all are.
          target_lengths: [B], the same of the target.
          deterministic: no dropout, and what is likeliest of an attention that draws; otherwise the rng "dropout" is
            used.

        Raises:
          Refused: there is no such form, or the attention cannot look at the source.
        """
        memory, last, lengths = self._encoded(source, source_lengths, deterministic=deterministic)
        embedded = self.dropout(self.token(inputs), deterministic=deterministic)
        out, _ = self.aligned_decoder(
            embedded, memory, lengths, last=last, lengths=target_lengths, deterministic=deterministic
        )
        return self._logits(self.dropout(out, deterministic=deterministic))

    def start(
        self, source: Int[Array, "B S"], *, source_lengths: Int[Array, " B"] | None = None, capacity: int | None = None
    ) -> Any:
        """Returns the decode state before the first token of the target: see `advance`.

        Args:
          source: [B, S].
          source_lengths: [B], how many tokens of each source are real; None: all are.
          capacity: of no effect: the state does not grow with the target.
        """
        memory, last, lengths = self._encoded(source, source_lengths, deterministic=True)
        nothing = jnp.zeros(len(source), jnp.int32)
        _, state = self.aligned_decoder(self.token(nothing[:, None]), memory, lengths, last=last, lengths=nothing)
        return {"decoder": state, "memory": Fixed((memory, lengths))}

    def advance(
        self, state: Any, tokens: Int[Array, "B T"], lengths: Int[Array, " B"]
    ) -> tuple[Float[Array, "B V"], Any]:
        """Returns the logits of the token after the last new one, float32 [B, V], and the decode state after it.

        Args:
          state: what the tokens before left; at first what `start` returns.
          tokens: [B, T], the new tokens.
          lengths: [B], how many of them, from the first, each sequence has.
        """
        out, decoder = self.aligned_decoder(
            self.token(tokens), *state["memory"].held, state=state["decoder"], lengths=lengths
        )
        last = jnp.maximum(lengths - 1, 0)[:, None, None]
        return self._logits(jnp.take_along_axis(out, last, axis=1))[:, 0], {**state, "decoder": decoder}

    def _table(self) -> TokenEmbedding:
        init = nn.initializers.normal(self.width**-0.5)
        return TokenEmbedding(self.vocabulary_size, self.width, embedding_init=init)

    def _encoded(
        self, source: Array, lengths: Array | None, *, deterministic: bool
    ) -> tuple[Float[Array, "B S E"], Float[Array, "B E"], Int[Array, " B"]]:
        """The states at the source's tokens, those that it ends with, and how many tokens are real."""
        lengths = lengths_of(source, lengths)
        table = self.token if self.share_embeddings else self.source_token
        embedded = self.dropout(table(source), deterministic=deterministic)
        ran = self.recurrent_encoder(embedded, lengths=lengths, deterministic=deterministic)
        return ran.outputs, ran.last(1 + self.encoder.bidirectional), lengths

    def _logits(self, out: Float[Array, "B T W"]) -> Float[Array, "B T V"]:
        if self.tied_output:
            return self.token.attend(self.narrowed(out)).astype(jnp.float32)
        return self.head(out).astype(jnp.float32)
