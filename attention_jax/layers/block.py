"""A transformer block: attention, attention to a memory, feed-forward, each with its residual and its norms."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from attention_jax.layers.attention import Seen
from attention_jax.layers.feed_forward import FeedForward
from attention_jax.layers.mixer import mixer
from attention_jax.layers.stack_options import StackOptions

# The decode state of a block: that of its attention, and the memory that its cross-attention has prepared.
BlockState = dict[str, Any]


class Block(nn.Module):
    """Attention, then cross-attention where there is a memory, then feed-forward.

    "pre": x + f(norm(x)), as in GPT-2 and ViT; "post": norm(x + f(x)), as in the Transformer and BERT; "sandwich":
    x + norm(f(norm(x))), as in Gemma 2.

    Attributes:
      options: of the stack.
      layer: the number of the block, from 1.
    """

    options: StackOptions
    layer: int = 1

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "B T D"], seen: Seen, *, state: BlockState | None = None, deterministic: bool = True
    ) -> tuple[Float[Array, "B T D"], BlockState | None]:
        """Returns [B, T, D] for [B, T, D], and the decode state after these tokens.

        Args:
          inputs: [B, T, D].
          seen: what each token sees, and where it stands.
          state: of the tokens before these, where they are decoded in steps; None: these are all.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: the attention refuses.
        """
        after: BlockState = {}

        def attend(hidden: Array) -> Array:
            attention = mixer(self.options.of_layer("attention", self.layer), self.options, self.layer, seen)
            before = None if state is None else state["attention"]
            mixed = attention(hidden, seen, state=before, deterministic=deterministic)
            after["attention"] = mixed.state
            return mixed.out

        def cross_attend(hidden: Array) -> Array:
            before = None if state is None else state["cross_attention"]
            assert self.options.cross_attention is not None
            attention = mixer(self.options.cross_attention, self.options, self.layer, seen, cross=True)
            mixed = attention(hidden, seen, state=before, deterministic=deterministic)
            after["cross_attention"] = mixed.state
            return mixed.out

        halves: list[tuple[str, Callable[[Array], Array]]] = [("attention", attend)]
        if self.options.cross_attention is not None:
            halves.append(("cross_attention", cross_attend))
        halves.append(("feed_forward", FeedForward(self.options, name="feed_forward")))
        drop = nn.Dropout(self.options.dropout_rate, deterministic=deterministic)
        hidden = inputs
        for name, half in halves:
            hidden = self._half(name, half, hidden, drop)
        return hidden, None if state is None else after

    def _half(self, name: str, half: Callable[[Array], Array], hidden: Array, drop: nn.Dropout) -> Array:
        options = self.options
        if options.norm_position == "post":
            return options.make_norm(f"{name}_norm")(hidden + drop(half(hidden)))
        bare = name == "attention" and self.layer == 1 and not options.first_norm
        out = half(hidden if bare else options.make_norm(f"{name}_norm")(hidden))
        if options.norm_position == "sandwich":
            out = options.make_norm(f"{name}_out_norm")(out)
        return hidden + drop(out)
