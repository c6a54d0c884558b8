"""The stack of blocks that transformer models share, with the options they have in common."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from attention_jax.kernels import Mask, Refused
from attention_jax.layers.block import Block
from attention_jax.layers.defaults import NORM_EPSILON, compute_dtype


class Backbone(nn.Module, kw_only=True):
    """What a transformer model inherits: these options and `run_blocks`.

    Attributes:
      attention: the spec of the attention variant.
      num_layers: how many blocks.
      num_heads: query heads; they divide the width.
      num_kv_heads: key and value heads; None is num_heads.
      width: D.
      hidden: the width of the feed-forward layers; None is 4 D.
      norm_position: "pre" or "post".
      norm_epsilon: of every layer norm.
      activation: gelu (erf), gelu_tanh or relu.
      use_bias: whether the projections of the blocks have biases.
      dropout_rate: of the embeddings and of what each half of a block adds.
      attention_dropout_rate: of the attention weights.
      engine: an attention engine by name; None takes the fastest that qualifies.
      dtype: what it computes in; parameters are float32.
    """

    attention: str = "scaled_dot"
    num_layers: int = 4
    num_heads: int = 4
    num_kv_heads: int | None = None
    width: int = 128
    hidden: int | None = None
    norm_position: str = "pre"
    norm_epsilon: float = NORM_EPSILON
    activation: str = "gelu"
    use_bias: bool = True
    dropout_rate: float = 0.0
    attention_dropout_rate: float = 0.0
    engine: str | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Checks the sizes and the share that is dropped.

        Raises:
          Refused: they leave nothing to compute.
        """
        for name in ("num_layers", "num_heads", "num_kv_heads", "width", "hidden"):
            size = getattr(self, name)
            if size is not None and size < 1:
                raise Refused(f"model.{name}={size}: give at least 1.")
        if not 0 <= self.dropout_rate < 1:
            raise Refused(f"model.dropout_rate={self.dropout_rate}: give a share in [0, 1); 0 is no dropout.")
        super().__post_init__()

    def run_blocks(
        self, embedded: Float[Array, "B T D"], *, mask: Mask | None = None, deterministic: bool, **initializers: Any
    ) -> Float[Array, "B T D"]:
        """Drops out of the embedded tokens and runs them through the blocks; call it from a compact `__call__`.

        Args:
          embedded: [B, T, D].
          mask: who may see whom, in every block.
          deterministic: no dropout; otherwise the rng "dropout" is used.
          **initializers: `kernel_init` and `out_init` of the blocks.

        Raises:
          Refused: the heads do not divide the width, an option has no such value, or the attention refuses.
        """
        hidden = nn.Dropout(self.dropout_rate, deterministic=deterministic)(embedded)
        for layer in range(self.num_layers):
            block = Block(
                attention=self.attention,
                num_heads=self.num_heads,
                num_kv_heads=self.num_kv_heads,
                hidden=self.hidden or 4 * self.width,
                norm_position=self.norm_position,
                norm_epsilon=self.norm_epsilon,
                activation=self.activation,
                use_bias=self.use_bias,
                dropout_rate=self.dropout_rate,
                attention_dropout_rate=self.attention_dropout_rate,
                engine=self.engine,
                dtype=compute_dtype(self.dtype),
                name=f"block_{layer}",
                **initializers,
            )
            hidden = block(hidden, mask=mask, deterministic=deterministic)
        return hidden
