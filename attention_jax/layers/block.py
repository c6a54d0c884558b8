"""A transformer block: attention, attention to a memory, feed-forward, each with its residual and its norms."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
from jaxtyping import Array

from attention_jax.layers.attention import Seen
from attention_jax.layers.depth import AttentionOverDepth, Sources, Stream
from attention_jax.layers.feed_forward import FeedForward
from attention_jax.layers.mixer import mixer
from attention_jax.layers.stack_options import StackOptions

# The decode state of a block: that of its attention, and the memory that its cross-attention has prepared.
BlockState = dict[str, Any]


class Block(nn.Module):
    """Attention, then cross-attention where there is a memory, then feed-forward.

    "pre": x + f(norm(x)), as in GPT-2 and ViT; "post": norm(x + f(x)), as in the Transformer and BERT; "sandwich":
    x + norm(f(norm(x))), as in Gemma 2. With attention over depth, x is read from the outputs of all halves before, and
    f(norm(x)) is one more of them.

    Attributes:
      options: of the stack.
      layer: the number of the block, from 1.
    """

    options: StackOptions
    layer: int = 1

    @nn.compact
    def __call__(
        self, stream: Stream, seen: Seen, *, state: BlockState | None = None, deterministic: bool = True
    ) -> tuple[Stream, BlockState | None]:
        """Returns what it hands on to the block above, and the decode state after these tokens.

        Args:
          stream: what the block below hands on: [B, T, D], and what the options have beside it.
          seen: what each token sees, and where it stands.
          state: of the tokens before these, where they are decoded in steps; None: these are all.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: the attention refuses.
        """
        after: BlockState = {}
        hidden, first_values = stream

        def attend(hidden: Array) -> Array:
            nonlocal first_values
            attention = mixer(self.options.of_layer("attention", self.layer), self.options, self.layer, seen)
            before = None if state is None else state["attention"]
            beside = seen._replace(first_values=first_values)
            mixed = attention(hidden, beside, state=before, deterministic=deterministic)
            after["attention"], first_values = mixed.state, mixed.first_values
            return mixed.out

        def cross_attend(hidden: Array) -> Array:
            before = None if state is None else state["cross_attention"]
            assert self.options.cross_attention is not None
            attention = mixer(self.options.cross_attention, self.options, self.layer, seen, cross=True)
            mixed = attention(hidden, seen, state=before, deterministic=deterministic)
            after["cross_attention"] = mixed.state
            return mixed.out

        halves: dict[str, Callable[[Array], Array]] = {
            "attention": attend,
            "cross_attention": cross_attend,
            "feed_forward": FeedForward(self.options, name="feed_forward"),
        }
        drop = nn.Dropout(self.options.dropout_rate, deterministic=deterministic)
        for name in self.options.halves:
            hidden = self._half(name, halves[name], hidden, drop)
        return Stream(hidden, first_values), None if state is None else after

    def _half(
        self, name: str, half: Callable[[Array], Array], before: Array | Sources, drop: nn.Dropout
    ) -> Array | Sources:
        options = self.options
        hidden = AttentionOverDepth(options, name=f"{name}_depth")(before) if isinstance(before, Sources) else before
        if options.norm_position == "post":
            return options.make_norm(f"{name}_norm")(hidden + drop(half(hidden)))
        bare = name == "attention" and self.layer == 1 and not options.first_norm
        out = half(hidden if bare else options.make_norm(f"{name}_norm")(hidden))
        if options.norm_position == "sandwich":
            out = options.make_norm(f"{name}_out_norm")(out)
        return before + drop(out)
