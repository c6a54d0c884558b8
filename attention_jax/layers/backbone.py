"""The stack of blocks that transformer models share, with the options they have in common."""

from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.kernels import Mask, lookup
from attention_jax.layers.block import Block
from attention_jax.layers.defaults import NORM_EPSILON, compute_dtype
from attention_jax.layers.spread import spread_tokens

# What the backward pass finds kept of a block, by the value of `remat`.
REMAT: dict[str, Callable[..., Any]] = {
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_saveable,
    "dots_no_batch": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}
# Where the parameters of a transformer lie: (path, axes of its dimensions from the first), see training/rules.py. Heads
# and hidden units over "tensor", so that each half of a block needs one sum over it forward and one backward (Shoeybi
# et al. 2019, section 3); the width over "fsdp". Small arrays are whole, so are those of a variant and of a pooling.
PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    ("(token|position)/embedding", (None, "fsdp")),
    (r".*/attention/(query|key|value|input_\w+)/kernel", ("fsdp", "tensor")),
    (r".*/attention/(query|key|value|input_\w+)/bias", ("tensor",)),
    (".*/attention/out/kernel", ("tensor", None, "fsdp")),
    (".*/attention/out/bias", ()),
    (r".*/attention/variant_\w+", ()),
    (".*/feed_forward/hidden/kernel", ("fsdp", "tensor")),
    (".*/feed_forward/hidden/bias", ("tensor",)),
    (".*/feed_forward/out/kernel", ("tensor", "fsdp")),
    (".*/feed_forward/out/bias", ()),
    (r"(.*/\w+_)?norm/(scale|bias)", ()),
    (r"pooling/pooling_\w+", ()),
    ("head/kernel", ("fsdp",)),
    ("head/bias", ()),
)


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
      dtype: what it computes in.
      remat: what the backward pass computes again, to save memory: None (nothing), "full" (everything), "dots"
        (everything but products) or "dots_no_batch" (everything but products with parameters). On CPU devices it saves
        memory only with `scan_layers`: without, XLA computes all of it again before the first block that needs it.
      scan_layers: whether the blocks are one block that is scanned over, its parameters stacked as "blocks": compile
        time does not grow with num_layers.
    """

    parameter_rules: ClassVar[tuple[tuple[str, tuple[str | None, ...]], ...]] = PARAMETER_RULES

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
    remat: str | None = None
    scan_layers: bool = False

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
        if self.remat is not None and self.remat not in REMAT:
            raise Refused(f"there is no remat {self.remat!r}.{did_you_mean(self.remat, REMAT)}")
        super().__post_init__()

    def run_blocks(
        self,
        embedded: Float[Array, "B T D"],
        *,
        mask: Mask | None = None,
        grid: tuple[int, int] | None = None,
        deterministic: bool,
        **initializers: Any,
    ) -> Float[Array, "B T D"]:
        """Drops out of the embedded tokens and runs them through the blocks; call it from a compact `__call__`.

        Args:
          embedded: [B, T, D].
          mask: who may see whom, in every block.
          grid: the rows and columns that the tokens lie in, row by row, for an attention that goes by them.
          deterministic: no dropout; otherwise the rng "dropout" is used.
          **initializers: `kernel_init` and `out_init` of the blocks.

        Raises:
          Refused: the heads do not divide the width, an option has no such value, or the attention refuses.
        """

        def run(block: nn.Module, hidden: Array) -> Array:
            return spread_tokens(block(hidden, mask=mask, grid=grid, deterministic=deterministic))

        if self.remat is not None:
            run = nn.remat(run, policy=REMAT[self.remat], prevent_cse=not self.scan_layers)
        hidden = spread_tokens(nn.Dropout(self.dropout_rate, deterministic=deterministic)(embedded))
        if not self.scan_layers:
            for layer in range(self.num_layers):
                hidden = run(self._block(f"block_{layer}", layer + 1, **initializers), hidden)
            return hidden
        if any(one.by_layer for one in lookup(self.attention).mechanism.arrays.values()):
            raise Refused(
                f"model.scan_layers=True makes all layers alike, and {self.attention} starts differently in each: "
                "leave it out."
            )
        scanned = nn.scan(
            lambda block, hidden, _: (run(block, hidden), None),
            variable_axes={"params": 0, "buffers": 0},
            split_rngs={"params": True, "dropout": True},
            length=self.num_layers,
        )
        return scanned(self._block("blocks", 1, **initializers), hidden, None)[0]

    def _block(self, name: str, layer: int, **initializers: Any) -> Block:
        return Block(
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
            layer=layer,
            dtype=compute_dtype(self.dtype),
            name=name,
            **initializers,
        )
