"""A decoder-only language model: Radford et al. 2019 (GPT-2), in the shape that nanoGPT trains.

Pre-norm blocks, learned positions, output tied to the token embedding. Weights are drawn from N(0, init_stddev^2),
those that write to the residual stream from N(0, init_stddev^2 / 2L) (GPT-2, section 2.3). Other options of the stack
make it Gemma or Llama: RMS norms, gates, rotary positions, windows that take turns.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.kernels import Causal, Padding, Segments
from attention_jax.kernels.mask_algebra import conjunction
from attention_jax.kernels.steps import Fresh
from attention_jax.layers import Embedding, Seen, Stack, StackOptions, require_causal
from attention_jax.layers.mixer import decode_bytes
from attention_jax.layers.stack import PARAMETER_RULES
from attention_jax.models.catalogue import register


@register("gpt")
class GPT(nn.Module, kw_only=True):
    """Predicts each next token from those before it.

    Attributes:
      vocabulary_size: V, a fact of the data.
      length: the largest number of tokens, a fact of the data.
      stack: the options of its blocks.
      approximate_causal: accept a variant whose choice of what to attend to can leak the future.
    """

    vocabulary_size: int
    length: int
    stack: StackOptions = StackOptions(use_bias=False, depth_scaled_init=True)
    approximate_causal: bool = False

    reads: ClassVar[tuple[str, ...]] = ("inputs",)
    may_read: ClassVar[tuple[str, ...]] = ("segments", "positions", "lengths", "asked")
    parameter_rules = PARAMETER_RULES

    def setup(self) -> None:
        """Makes the embeddings, the blocks and the last norm.

        Raises:
          Refused: an attention is not causal.
        """
        options = self.stack
        # The output is tied to embeddings of the width of the stack.
        options.refuse("cross_attention", "embedding_width", owner="model gpt")
        for attention in options.attentions:
            require_causal(attention, owner="model gpt", approximate=self.approximate_causal)
        self.embedding = Embedding(options, self.vocabulary_size, self.length)
        self.transformer = Stack(options)
        self.norm = options.make_norm()
        # Their parameters are named as those of the model.
        nn.share_scope(self, self.embedding)
        nn.share_scope(self, self.transformer)

    def __call__(
        self,
        inputs: Int[Array, "B T *several"],
        *,
        segments: Int[Array, "B T"] | None = None,
        positions: Int[Array, "B T"] | None = None,
        lengths: Int[Array, " B"] | None = None,
        asked: Int[Array, "B K"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B T V"]:
        """Returns the logits of the token after each token, float32 [B, T, V], or after each that is asked for.

        Args:
          inputs: [B, T], each smaller than V; or [B, T, S], where S tokens share a place and their vectors add up.
          segments: [B, T], the document of each token where several share a row; a token sees its own alone.
          positions: [B, T], where each token stands in its document; by default its index.
          lengths: [B], how many tokens of each row, from the first, are real; no token sees the others. None: all are.
          asked: [B, K], at which places the logits are wanted, which then are [B, K, V]; by default at all.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: the variant is not causal, there are too many tokens, or the blocks refuse.
        """
        mask = conjunction(
            Causal(),
            None if segments is None else Segments(segments),
            None if lengths is None else Padding(lengths),
        )
        hidden, _ = self._hidden(inputs, Seen(mask, positions), deterministic=deterministic)
        if asked is not None:
            hidden = jnp.take_along_axis(hidden, asked[..., None], axis=1)
        return self.embedding.logits(hidden)

    def start(self, batch: int, capacity: int | None = None) -> Any:
        """Returns the decode state before the first token: see `advance`.

        Args:
          batch: B, how many sequences.
          capacity: the most tokens that a sequence can have; None is `length`.
        """
        nothing = jnp.zeros((batch, 1), jnp.int32), jnp.zeros(batch, jnp.int32)
        return self.advance(Fresh(capacity or self.length), *nothing)[1]

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
        before = jnp.zeros_like(lengths) if isinstance(state, Fresh) else state["length"]
        positions = before[:, None] + jnp.arange(tokens.shape[1])
        seen = Seen(Causal(), positions, lengths=lengths)
        of_stack = state if isinstance(state, Fresh) else state["stack"]
        hidden, after = self._hidden(tokens, seen, state=of_stack, deterministic=True)
        return self.embedding.last_logits(hidden, lengths), {"stack": after, "length": before + lengths}

    def _hidden(self, tokens: Array, seen: Seen, *, state: Any = None, deterministic: bool) -> tuple[Array, Any]:
        embedded = self.embedding(tokens, positions=seen.positions)
        hidden, state = self.transformer(embedded, seen, state=state, deterministic=deterministic)
        return self.norm(hidden), state

    def decode_bytes(self) -> int | None:
        """Returns what one sequence of `length` tokens holds in all layers while it is decoded, in bytes; None without
        steps.
        """
        layers = [decode_bytes(self.stack, layer, tokens=self.length) for layer in range(1, self.stack.num_layers + 1)]
        return None if None in layers else sum(layer for layer in layers if layer is not None)
