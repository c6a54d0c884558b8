"""The options of a stack of transformer blocks, one field each: all that blocks, attentions and embeddings read."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.kernels import Sizes, lookup_position
from attention_jax.layers.defaults import (
    INIT_STDDEV,
    NORM_EPSILON,
    NORMS,
    Initializer,
    activation,
    compute_dtype,
    norm,
    normal,
)

Entry = TypeVar("Entry")

# What the backward pass finds kept of a block, by the value of `remat`.
REMAT: dict[str, Callable[..., Any]] = {
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_saveable,
    "dots_no_batch": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}
# The `residual` of halves that attend over depth.
OVER_DEPTH = "attention_over_depth"
# What `positions` says where nothing is told of them.
NO_POSITIONS = "none"
# The projections of a block that may have biases.
PROJECTIONS = ("query", "key", "value", "out", "hidden", "feed_forward_out")


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """How the blocks of a stack are made. A tuple is a pattern that cycles over the layers, the first layer first.

    Attributes:
      attention: the spec of the attention variant, such as "scaled_dot" or ("sliding_window:window=256", "scaled_dot"),
        in which a recipe may be named, "scaled_dot:recipe=gated".
      cross_attention: the spec of the attention from each token to a memory; None: the blocks have none.
      positions: how attention and embeddings are told of the positions: the spec of a position encoding such as
        "learned", "sinusoidal" or "rope:base=10000"; "none", or None, which a command line makes of the word, is not
        at all. A pattern is of encodings in the logits alone.
      shared_positions: whether the layers share the arrays of the position encoding, as in T5.
      window: a token sees its own position and at most this many less one before it (and after, where it may look
        ahead), beside what the model hides; None: all.
      num_layers: how many blocks.
      layer_groups: how many sets of parameters they have, each for as many blocks that follow one another, as in
        ALBERT; None is one each.
      num_heads: query heads; they divide the width where there is no head_width.
      num_kv_heads: key and value heads; None is num_heads.
      head_width: H; None is width / num_heads.
      width: D.
      hidden: the width of the feed-forward layers; None is 4 D.
      norm: "layer" (Ba et al. 2016), "layer_no_bias" or "rms" (Zhang & Sennrich 2019).
      norm_position: "pre", "post", or "sandwich": before each half of a block and again after it (Gemma 2).
      norm_epsilon: of every norm.
      first_norm: whether the first half of the first block has its norm before it: not in ModernBERT, whose embeddings
        are normalised.
      residual: what each half of a block reads of those before it: their "sum", or "attention_over_depth", a learned
        softmax over the embedding and all their outputs (Kimi Team 2026: `layers.depth`). The backward pass keeps each
        output once, and with `scan_layers` all of them again for each layer.
      query_key_norm: whether each query and key head is normalised, by an RMS norm with a learned scale (Henry et al.
        2020; Qwen 3).
      query_scale: what the products of queries and keys are multiplied by in place of 1 / sqrt(H).
      value_residual: how much of its own values a layer keeps, the rest being those of the first layer (Zhou et al.
        2024: `layers.depth`): None (all), "fixed" (half), "learned", or "per_token", made of its input for each head.
      activation: of the feed-forward layers: gelu (erf), gelu_tanh, relu or silu.
      gated: whether the feed-forward layers have a gate (Shazeer 2020): activation(x W) * (x V).
      use_bias: whether the projections have biases, or the names of those that have: query, key, value, out, hidden,
        feed_forward_out.
      dropout_rate: of the embeddings and of what each half of a block adds.
      attention_dropout_rate: of the attention weights.
      embedding_width: the width of the token embeddings, which a projection then widens to D, as in ALBERT; None is D.
      embedding_norm: whether the embeddings are normalised.
      embedding_scale: what the token embeddings are multiplied by: None, or "sqrt_width".
      logit_scale: what the logits of tied output embeddings are multiplied by: None, or "inverse_sqrt_width" (T5).
      logit_cap: c of the cap c tanh(logits / c) on the logits of the output (Gemma 2); None: none.
      init: "normal", from N(0, init_stddev^2), or "xavier_uniform" (Glorot & Bengio 2010).
      init_stddev: of all initial weights; 0.02 suits widths of about 1000, narrow models want about 1 / sqrt(width).
      depth_scaled_init: whether what writes to the residual stream is drawn from N(0, init_stddev^2 / 2L), as in GPT-2.
      engine: an attention engine by name; None takes the fastest that qualifies.
      dtype: what it computes in.
      remat: what the backward pass computes again, to save memory: None (nothing), "full" (everything), "dots"
        (everything but products) or "dots_no_batch" (everything but products with parameters). On CPU devices it saves
        memory only with `scan_layers`: without, XLA computes all of it again before the first block that needs it.
      scan_layers: whether the blocks are one block that is scanned over, its parameters stacked as "blocks": compile
        time does not grow with num_layers.
    """

    attention: str | tuple[str, ...] = "scaled_dot"
    cross_attention: str | None = None
    positions: str | tuple[str, ...] | None = "learned"
    shared_positions: bool = False
    window: int | tuple[int | None, ...] | None = None
    num_layers: int = 4
    layer_groups: int | None = None
    num_heads: int = 4
    num_kv_heads: int | None = None
    head_width: int | None = None
    width: int = 128
    hidden: int | None = None
    norm: str = "layer"
    norm_position: str = "pre"
    norm_epsilon: float = NORM_EPSILON
    first_norm: bool = True
    residual: str = "sum"
    query_key_norm: bool = False
    query_scale: float | None = None
    value_residual: str | None = None
    activation: str = "gelu"
    gated: bool = False
    use_bias: bool | tuple[str, ...] = True
    dropout_rate: float = 0.0
    attention_dropout_rate: float = 0.0
    embedding_width: int | None = None
    embedding_norm: bool = False
    embedding_scale: str | None = None
    logit_scale: str | None = None
    logit_cap: float | None = None
    init: str = "normal"
    init_stddev: float = INIT_STDDEV
    depth_scaled_init: bool = False
    engine: str | None = None
    dtype: str = "float32"
    remat: str | None = None
    scan_layers: bool = False

    def __post_init__(self) -> None:
        """Checks what can be checked before there is an input.

        Raises:
          Refused: a size leaves nothing to compute, or an option has no such value.
        """
        if self.positions is None:
            object.__setattr__(self, "positions", NO_POSITIONS)
        for name in SIZES:
            size = getattr(self, name)
            if size is not None and size < 1:
                raise Refused(f"model.{name}={size}: give at least 1.")
        for name in ("dropout_rate", "attention_dropout_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise Refused(f"model.{name}={getattr(self, name)}: give a share in [0, 1); 0 is no dropout.")
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise Refused(f"there is no {name} {value!r}.{did_you_mean(str(value), [str(one) for one in choices])}")
        activation(self.activation)
        _check_patterns(self)

    @property
    def compute_dtype(self) -> jnp.dtype:
        """The dtype that it computes in."""
        return compute_dtype(self.dtype)

    @property
    def kernel_init(self) -> Initializer:
        """Draws the projections."""
        return normal(self.init_stddev) if self.init == "normal" else nn.initializers.xavier_uniform()

    @property
    def out_init(self) -> Initializer:
        """Draws the projections that write to the residual stream."""
        if not self.depth_scaled_init:
            return self.kernel_init
        return normal(self.init_stddev / (2 * self.num_layers) ** 0.5)

    @property
    def embedding_init(self) -> Initializer:
        """Draws the tables of tokens and positions."""
        return normal(self.init_stddev)

    @property
    def heads_width(self) -> int:
        """H, the width of a head.

        Raises:
          Refused: the heads do not divide the width.
        """
        if self.head_width is not None:
            return self.head_width
        if self.width % self.num_heads:
            divisors = [size for size in range(1, self.width + 1) if self.width % size == 0]
            nearest = min(divisors, key=lambda divisor: abs(divisor - self.num_heads))
            raise Refused(
                f"{self.num_heads} heads do not divide the width {self.width}: give num_heads a divisor of it, such as "
                f"{nearest}."
            )
        return self.width // self.num_heads

    @property
    def sizes(self) -> Sizes:
        """The sizes of the heads.

        Raises:
          Refused: the heads do not divide the width.
        """
        width = self.heads_width
        return Sizes(self.num_heads, self.num_kv_heads or self.num_heads, width, width, width)

    @property
    def halves(self) -> tuple[str, ...]:
        """The names of what a block has, each with its residual, from the first."""
        cross = () if self.cross_attention is None else ("cross_attention",)
        return ("attention", *cross, "feed_forward")

    def make_norm(self, name: str | None = None, *, kind: str | None = None) -> nn.Module:
        """Returns a norm of the stack, or of another kind with its epsilon and dtype."""
        return norm(kind or self.norm, name=name, epsilon=self.norm_epsilon, dtype=self.compute_dtype)

    @property
    def attentions(self) -> tuple[str, ...]:
        """The specs of attention that the layers have."""
        return self.attention if isinstance(self.attention, tuple) else (self.attention,)

    @property
    def embedded_positions(self) -> str | None:
        """The spec of the position encoding that is added to the embeddings of the tokens; None: none is."""
        if not isinstance(self.positions, str) or self.positions == NO_POSITIONS:
            return None
        return self.positions if lookup_position(self.positions).made.embed is not None else None

    def encoding_of(self, layer: int) -> str | None:
        """Returns the spec of the position encoding in the logits of a layer, from 1; None: there is none."""
        spec = self.of_layer("positions", layer)
        return None if spec == NO_POSITIONS or spec == self.embedded_positions else spec

    def refuse(self, *names: str, owner: str) -> None:
        """Checks that options which an owner of the stack does not read are as they are by default.

        Raises:
          Refused: one is not.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in names and value != field.default:
                raise Refused(
                    f"{owner} does not read {field.name}={value!r}: leave it out, which is {field.default!r}."
                )

    def has_bias(self, projection: str) -> bool:
        """Returns whether a projection of `PROJECTIONS` has a bias."""
        return self.use_bias if isinstance(self.use_bias, bool) else projection in self.use_bias

    def of_layer(self, option: str, layer: int) -> Any:
        """Returns an option that may be a pattern, as it is for a layer, from 1."""
        return cycled(getattr(self, option), layer)


SIZES = ("num_layers", "layer_groups", "num_heads", "num_kv_heads", "head_width", "width", "hidden", "embedding_width")
CHOICES: dict[str, tuple[Any, ...]] = {
    "norm": tuple(NORMS),
    "norm_position": ("pre", "post", "sandwich"),
    "residual": ("sum", OVER_DEPTH),
    "value_residual": ("fixed", "learned", "per_token", None),
    "embedding_scale": ("sqrt_width", None),
    "logit_scale": ("inverse_sqrt_width", None),
    "init": ("normal", "xavier_uniform"),
    "remat": (*REMAT, None),
}
# The options of one layer that may be a pattern over the layers.
CYCLING = ("attention", "positions", "window")


def cycled(pattern: Entry | tuple[Entry, ...], layer: int) -> Entry:
    """Returns the entry of a pattern for a layer, from 1."""
    return pattern[(layer - 1) % len(pattern)] if isinstance(pattern, tuple) else pattern


# What is of token embeddings, and of the logits that are tied to them.
OF_EMBEDDINGS = ("embedding_width", "embedding_norm", "embedding_scale")
OF_LOGITS = ("logit_scale", "logit_cap")


def _check_patterns(options: StackOptions) -> None:
    if not options.first_norm and options.norm_position == "post":
        raise Refused(
            "model.first_norm=False is of norms before each half, and norm_position='post' has none: leave it out."
        )
    if options.residual == OVER_DEPTH and options.norm_position == "post":
        raise Refused(
            f"model.residual={OVER_DEPTH!r} has no sum that norm_position='post' could normalise: give norm_position="
            "'pre' or 'sandwich'."
        )
    if options.value_residual is not None and options.num_layers == 1:
        raise Refused(
            f"model.value_residual={options.value_residual!r} mixes in the values of the first layer, and num_layers=1 "
            "has no other: leave it out."
        )
    if options.shared_positions and options.encoding_of(1) is None:
        raise Refused(
            f"model.shared_positions=True shares what layers have, and positions={options.positions!r} is of no layer: "
            "leave it out, or give positions='t5'."
        )
    for name in CYCLING:
        if getattr(options, name) == ():
            raise Refused(f"model.{name}=() is a pattern of nothing: give at least one entry.")
    windows = options.window if isinstance(options.window, tuple) else (options.window,)
    if any(window is not None and window < 1 for window in windows):
        raise Refused(f"model.window={options.window}: give at least 1, or None for no window.")
    groups = options.layer_groups
    if groups is not None and options.num_layers % groups:
        raise Refused(
            f"model.layer_groups={groups} does not divide num_layers={options.num_layers}: give a divisor of it."
        )
    for name in CYCLING if groups is not None else ():
        pattern = getattr(options, name)
        if isinstance(pattern, tuple):
            raise Refused(
                f"model.layer_groups={groups} makes layers of a group alike, and model.{name}={pattern} is a pattern "
                "over the layers: leave out one of them."
            )
    if not isinstance(options.use_bias, bool):
        for name in options.use_bias:
            if name not in PROJECTIONS:
                raise Refused(f"model.use_bias names no projection {name!r}.{did_you_mean(name, PROJECTIONS)}")
