"""The Transformer: Vaswani et al. 2017, section 3. An encoder reads the source, a decoder writes the target.

Post-norm blocks (or pre-norm: `encoder.norm_position`), sinusoids, embeddings of width D scaled by sqrt(D), one table
for source, target and output (section 3.4). A pre-norm stack is normalised once more at its end (Wang et al. 2019).
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels import Causal, Mask, Padding
from attention_jax.kernels.mask_algebra import conjunction
from attention_jax.kernels.steps import Fixed, Fresh
from attention_jax.layers import Embedding, Seen, Stack, StackOptions, require_causal
from attention_jax.layers.embeddings import token_embedding
from attention_jax.layers.stack import PARAMETER_RULES
from attention_jax.layers.stack_options import OF_LOGITS
from attention_jax.models.catalogue import register

PAPER = StackOptions(
    num_layers=6,
    num_heads=8,
    width=512,
    norm_position="post",
    positions="sinusoidal",
    activation="relu",
    dropout_rate=0.1,
    embedding_scale="sqrt_width",
    init="xavier_uniform",
    init_stddev=512**-0.5,
)


@register("transformer")
class Transformer(nn.Module, kw_only=True):
    """Predicts each next token of the target from the source and the target before it.

    Attributes:
      vocabulary_size: V, of source and target together, a fact of the data.
      source_length: the largest number of tokens of a source, a fact of the data.
      target_length: the largest number of tokens of a target, a fact of the data.
      begin: the token before the first of a target, a fact of the data.
      end: the token after the last of a target, a fact of the data.
      encoder: the options of the blocks that read the source.
      decoder: the options of the blocks that write the target.
      share_embeddings: whether source and target have one table of vectors; the output always has that of the target.
      approximate_causal: accept a variant whose choice of what to attend to can leak the future.
    """

    vocabulary_size: int
    source_length: int
    target_length: int
    begin: int
    end: int
    encoder: StackOptions = PAPER
    decoder: StackOptions = StackOptions(**{**vars(PAPER), "cross_attention": "scaled_dot"})
    share_embeddings: bool = True
    approximate_causal: bool = False

    reads: ClassVar[tuple[str, ...]] = ("source", "inputs")
    may_read: ClassVar[tuple[str, ...]] = ("source_lengths", "target_lengths")
    parameter_rules = PARAMETER_RULES

    def setup(self) -> None:
        """Makes the embeddings and both stacks.

        Raises:
          Refused: an attention of the decoder is not causal, it looks at no memory, or the widths do not agree.
        """
        self.encoder.refuse(*OF_LOGITS, "cross_attention", "embedding_width", owner="the encoder of model transformer")
        self.decoder.refuse("embedding_width", owner="the decoder of model transformer")
        for attention in self.decoder.attentions:
            require_causal(attention, owner="model transformer", approximate=self.approximate_causal)
        if self.decoder.cross_attention is None:
            raise Refused(
                "model.decoder.cross_attention=None leaves the decoder without the source: give an attention variant, "
                "such as scaled_dot, or use model gpt."
            )
        if self.share_embeddings and self.encoder.width != self.decoder.width:
            raise Refused(
                f"model.encoder.width={self.encoder.width} and model.decoder.width={self.decoder.width} cannot share "
                "one table of embeddings: give one width, or model.share_embeddings=False."
            )
        if self.share_embeddings:
            self.token = token_embedding(self.decoder, self.vocabulary_size)
        shared = self.token if self.share_embeddings else None
        self.target_embedding = Embedding(self.decoder, self.vocabulary_size, self.target_length, shared)
        self.source_embedding = Embedding(self.encoder, self.vocabulary_size, self.source_length, shared)
        self.encoder_stack, self.decoder_stack = Stack(self.encoder), Stack(self.decoder)
        if self.encoder.norm_position != "post":
            self.encoder_norm = self.encoder.make_norm()
        if self.decoder.norm_position != "post":
            self.decoder_norm = self.decoder.make_norm()

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
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: there are too many tokens, or an attention refuses.
        """
        memory, memory_mask = self._encoded(source, source_lengths, deterministic=deterministic)
        mask = conjunction(Causal(), None if target_lengths is None else Padding(target_lengths))
        seen = Seen(mask, memory=memory, memory_mask=memory_mask)
        hidden, _ = self._decoded(inputs, seen, deterministic=deterministic)
        return self.target_embedding.logits(hidden)

    def start(
        self, source: Int[Array, "B S"], *, source_lengths: Int[Array, " B"] | None = None, capacity: int | None = None
    ) -> Any:
        """Returns the decode state before the first token of the target: see `advance`.

        Args:
          source: [B, S].
          source_lengths: [B], how many tokens of each source are real; None: all are.
          capacity: the most tokens that a target can have; None is `target_length`.
        """
        memory, memory_mask = self._encoded(source, source_lengths, deterministic=True)
        nothing = jnp.zeros((len(source), 1), jnp.int32), jnp.zeros(len(source), jnp.int32)
        seen = Seen(Causal(), positions=nothing[0], memory=memory, memory_mask=memory_mask, lengths=nothing[1])
        _, stack = self._decoded(nothing[0], seen, state=Fresh(capacity or self.target_length), deterministic=True)
        lengths = jnp.full(len(source), source.shape[1]) if source_lengths is None else jnp.asarray(source_lengths)
        return {"stack": stack, "length": nothing[1], "source_lengths": Fixed(lengths)}

    def advance(
        self, state: Any, tokens: Int[Array, "B T"], lengths: Int[Array, " B"]
    ) -> tuple[Float[Array, "B V"], Any]:
        """Returns the logits of the token after the last new one, float32 [B, V], and the decode state after it.

        Args:
          state: what the tokens before left; at first what `start` returns.
          tokens: [B, T], the new tokens.
          lengths: [B], how many of them, from the first, each sequence has.

        Raises:
          Refused: the attention is not decoded in steps, or a sequence is longer than its cache.
        """
        positions = state["length"][:, None] + jnp.arange(tokens.shape[1])
        seen = Seen(Causal(), positions, memory_mask=Padding(state["source_lengths"].held), lengths=lengths)
        hidden, stack = self._decoded(tokens, seen, state=state["stack"], deterministic=True)
        logits = self.target_embedding.last_logits(hidden, lengths)
        return logits, {**state, "stack": stack, "length": state["length"] + lengths}

    def _encoded(self, source: Array, lengths: Array | None, *, deterministic: bool) -> tuple[Array, Mask | None]:
        mask = None if lengths is None else Padding(lengths)
        memory, _ = self.encoder_stack(self.source_embedding(source), Seen(mask), deterministic=deterministic)
        return memory if self.encoder.norm_position == "post" else self.encoder_norm(memory), mask

    def _decoded(self, tokens: Array, seen: Seen, *, state: Any = None, deterministic: bool) -> tuple[Array, Any]:
        embedded = self.target_embedding(tokens, positions=seen.positions)
        hidden, state = self.decoder_stack(embedded, seen, state=state, deterministic=deterministic)
        return hidden if self.decoder.norm_position == "post" else self.decoder_norm(hidden), state
