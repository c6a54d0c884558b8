"""A transformer block: attention and feed-forward, each with its residual and its norm before or after."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.kernels import Mask
from attention_jax.layers.attention import Attention
from attention_jax.layers.defaults import NORM_EPSILON, Initializer, layer_norm, normal
from attention_jax.layers.feed_forward import FeedForward

NORM_POSITIONS = ("pre", "post")


class Block(nn.Module):
    """Attention then feed-forward.

    "pre": x + f(norm(x)), as in GPT-2 and ViT; "post": norm(x + f(x)), as in the Transformer and BERT.

    Attributes:
      attention: the spec of the attention variant.
      num_heads: query heads.
      num_kv_heads: key and value heads; None is num_heads.
      hidden: the width of the feed-forward layer.
      norm_position: "pre" or "post".
      norm_epsilon: of both norms.
      activation: of the feed-forward layer.
      use_bias: whether the projections have biases.
      dropout_rate: of what each half adds.
      attention_dropout_rate: of the attention weights.
      engine: an attention engine by name, or None.
      layer: the number of the block, from 1.
      kernel_init: draws the projections into each half.
      out_init: draws the projections out of each half.
      dtype: what it computes in.
    """

    attention: str
    num_heads: int
    hidden: int
    num_kv_heads: int | None = None
    norm_position: str = "pre"
    norm_epsilon: float = NORM_EPSILON
    activation: str = "gelu"
    use_bias: bool = True
    dropout_rate: float = 0.0
    attention_dropout_rate: float = 0.0
    engine: str | None = None
    layer: int = 1
    kernel_init: Initializer = normal()
    out_init: Initializer = normal()
    dtype: jnp.dtype = jnp.dtype(jnp.float32)

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "B T D"],
        *,
        mask: Mask | None = None,
        grid: tuple[int, int] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B T D"]:
        """Returns [B, T, D] for [B, T, D].

        Args:
          inputs: [B, T, D].
          mask: who may see whom.
          grid: the rows and columns that the tokens lie in, row by row, for an attention that goes by them.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: norm_position is neither "pre" nor "post", or the attention refuses.
        """
        if self.norm_position not in NORM_POSITIONS:
            raise Refused(
                f"there is no norm_position {self.norm_position!r}.{did_you_mean(self.norm_position, NORM_POSITIONS)}"
            )
        shared: dict[str, Any] = {
            "use_bias": self.use_bias,
            "kernel_init": self.kernel_init,
            "out_init": self.out_init,
            "dtype": self.dtype,
        }
        attention = Attention(
            variant=self.attention,
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads,
            dropout_rate=self.attention_dropout_rate,
            engine=self.engine,
            layer=self.layer,
            name="attention",
            **shared,
        )
        feed_forward = FeedForward(hidden=self.hidden, activation=self.activation, name="feed_forward", **shared)
        drop = nn.Dropout(self.dropout_rate, deterministic=deterministic)
        hidden = inputs
        for name, half in (
            ("attention_norm", lambda x: attention(x, mask=mask, grid=grid, deterministic=deterministic)),
            ("feed_forward_norm", feed_forward),
        ):
            norm = layer_norm(name=name, epsilon=self.norm_epsilon, dtype=self.dtype)
            if self.norm_position == "pre":
                hidden = hidden + drop(half(norm(hidden)))
            else:
                hidden = norm(hidden + drop(half(hidden)))
        return hidden
