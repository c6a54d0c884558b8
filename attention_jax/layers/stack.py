"""A stack of transformer blocks, which models hold: an encoder, a decoder, a tower."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels import lookup
from attention_jax.kernels.position import lookup_position
from attention_jax.kernels.steps import Fresh
from attention_jax.layers.attention import Seen
from attention_jax.layers.block import Block, BlockState
from attention_jax.layers.depth import AttentionOverDepth, Sources, Stream, first_stream
from attention_jax.layers.mixer import is_mixer
from attention_jax.layers.owned import owned_arrays
from attention_jax.layers.spread import spread_tokens
from attention_jax.layers.stack_options import CYCLING, REMAT, StackOptions

# Where the parameters of a transformer lie: (path, axes of its dimensions from the first), see
# training/parallel/rules.py. Heads and hidden units over "tensor", so that each half of a block needs one sum over it
# forward and one backward (Shoeybi et al. 2019, section 3); the width over "fsdp". Small arrays are whole, so are those
# of a variant and of a pooling.
_INTO_HEADS = r"(.*/)?(cross_)?attention/((global_)?(query|key|value)|output_gate|value_residual/share|input_\w+)"
PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    (r"(.*/)?(token|position)/embedding", (None, "fsdp")),
    (r"(.*/)?widened/kernel", (None, "fsdp")),
    (r"(.*/)?widened/bias", ()),
    (rf"{_INTO_HEADS}/kernel", ("fsdp", "tensor")),
    (rf"{_INTO_HEADS}/bias", ("tensor",)),
    (r"(.*/)?(cross_)?attention/out/kernel", ("tensor", None, "fsdp")),
    (r"(.*/)?(cross_)?attention/out/bias", ()),
    (r"(.*/)?(cross_)?attention/(variant|mixer)_\w+", ()),
    (r"(.*/)?attention/((\w+_)?latent|rotary|\w+_heads|\w+_channels)/kernel", ("fsdp",)),
    (r"(.*/)?attention/((\w+_)?latent|rotary|\w+_heads|\w+_channels)/bias", ()),
    (r"(.*/)?(cross_)?attention/gate_bottleneck/kernel", ("fsdp",)),
    (r"(.*/)?(cross_)?attention/gate_bottleneck/bias", ()),
    (r"(.*/)?(cross_)?attention/narrow_output_gate/kernel", (None, "tensor")),
    (r"(.*/)?(cross_)?attention/narrow_output_gate/bias", ("tensor",)),
    (r"(.*/)?attention/(?!inputs)\w+_convolution/taps", (None, "tensor")),
    (r"(.*/)?attention/inputs_convolution/taps", ()),
    (r"(.*/)?attention/value_skip", ("tensor",)),
    (r"(.*/)?attention/value_residual/share", ()),
    (r"(.*/)?\w+_depth/query", ()),
    (r"(.*/)?position/(?!embedding)\w+", ()),
    (r"(.*/)?shared_position_\w+", ()),
    (r"(.*/)?feed_forward/(hidden|gate)/kernel", ("fsdp", "tensor")),
    (r"(.*/)?feed_forward/(hidden|gate)/bias", ("tensor",)),
    (r"(.*/)?feed_forward/out/kernel", ("tensor", "fsdp")),
    (r"(.*/)?feed_forward/out/bias", ()),
    (r"(.*/)?(\w+_)?norm/(scale|bias)", ()),
    (r"pooling/pooling_\w+", ()),
    ("head/kernel", ("fsdp",)),
    ("head/bias", ()),
)


# (block, what it is handed, its decode state) -> what it hands on, its decode state after.
Run = Callable[[Block, Stream, Any], tuple[Stream, Any]]


class Stacked(NamedTuple):
    """What a stack returns.

    Attributes:
      hidden: [B, T, D].
      state: the decode state after these tokens, of each block; where blocks are scanned over, of all, layers on the
        second axis. None where the tokens are all.
    """

    hidden: Float[Array, "B T D"]
    state: Any = None


class Stack(nn.Module):
    """Drops out of the embedded tokens and runs them through the blocks.

    Attributes:
      options: of the blocks.
    """

    options: StackOptions

    @nn.compact
    def __call__(
        self, embedded: Float[Array, "B T D"], seen: Seen, *, state: Any = None, deterministic: bool = True
    ) -> Stacked:
        """Returns the output of the last block, and the decode state after these tokens.

        Args:
          embedded: [B, T, D].
          seen: what the tokens see, and where they stand.
          state: of the tokens before these, where they are decoded in steps, or `Fresh`; None: these are all.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: the layers cannot be scanned over, or the attention refuses.
        """
        options = self.options
        seen = self._with_shared_positions(seen)

        def run(block: Block, stream: Stream, state: Any) -> tuple[Stream, Any]:
            stream, state = block(stream, seen, state=state, deterministic=deterministic)
            if not isinstance(stream.hidden, Sources):
                stream = stream._replace(hidden=spread_tokens(stream.hidden))
            return stream, state

        # Steps have no backward pass.
        if options.remat is not None and state is None:
            run = nn.remat(run, policy=REMAT[options.remat], prevent_cse=not options.scan_layers)
        hidden = spread_tokens(nn.Dropout(options.dropout_rate, deterministic=deterministic)(embedded))
        through = self._scanned if options.scan_layers else self._one_by_one
        stream, state = through(run, first_stream(options, hidden), state)
        if isinstance(stream.hidden, Sources):
            return Stacked(AttentionOverDepth(options, name="out_depth")(stream.hidden), state)
        return Stacked(stream.hidden, state)

    def _one_by_one(self, run: Run, stream: Stream, state: Any) -> tuple[Stream, Any]:
        states = []
        for layer, block in enumerate(self._blocks()):
            stream, after = run(block, stream, _of_block(state, layer))
            states.append(after)
        return stream, None if state is None else tuple(states)

    def _blocks(self) -> list[Block]:
        """The block of each layer; those of one group are one."""
        options = self.options
        if options.layer_groups is None:
            return [Block(options, layer, name=f"block_{layer - 1}") for layer in range(1, options.num_layers + 1)]
        of_group = options.num_layers // options.layer_groups
        groups = [Block(options, group * of_group + 1, name=f"block_{group}") for group in range(options.layer_groups)]
        return [block for block in groups for _ in range(of_group)]

    def _scanned(self, run: Run, stream: Stream, state: Any) -> tuple[Stream, Any]:
        _check_scan(self.options)
        # Of a state before the first token there are no arrays yet to scan over.
        fresh = _of_block(state, 0) if isinstance(state, Fresh) else None
        scanned = nn.scan(
            lambda block, stream, of_layer: run(block, stream, fresh or of_layer),
            # All collections: what a layer sows as well.
            variable_axes={True: 0},
            split_rngs={"params": True, "dropout": True},
            length=self.options.num_layers,
            in_axes=nn.broadcast if fresh or state is None else 1,
            out_axes=1,
        )
        stream, state = scanned(Block(self.options, name="blocks"), stream, None if fresh else state)
        return stream, state

    def _with_shared_positions(self, seen: Seen) -> Seen:
        """What is seen, with the arrays of the position encoding that all layers share."""
        options = self.options
        encoding = options.encoding_of(1)
        if not options.shared_positions or encoding is None:
            return seen
        declared = lookup_position(encoding).made.arrays
        shared = owned_arrays(self, declared, options.sizes, name_of="shared_{}".format)
        return seen._replace(position_params=shared)


def _of_block(state: Any, layer: int) -> BlockState | None:
    """The state that a block starts from."""
    if isinstance(state, Fresh):
        return {"attention": state, "cross_attention": state}
    return None if state is None else state[layer]


def _check_scan(options: StackOptions) -> None:
    """Checks that all layers are alike.

    Raises:
      Refused: they are not.
    """
    for name in CYCLING:
        pattern = getattr(options, name)
        if isinstance(pattern, tuple) and len(set(pattern)) > 1:
            raise Refused(
                f"model.scan_layers=True makes all layers alike, and model.{name}={pattern} makes them differ: leave "
                "out scan_layers, or give one for all."
            )
    if options.layer_groups is not None or not options.first_norm:
        name = "first_norm=False" if options.layer_groups is None else f"layer_groups={options.layer_groups}"
        raise Refused(
            f"model.scan_layers=True makes all layers alike, and model.{name} makes them differ: leave out one of them."
        )
    for attention in options.attentions:
        if is_mixer(attention):
            continue
        if any(one.by_layer for one in lookup(attention).mechanism.arrays.values()):
            raise Refused(
                f"model.scan_layers=True makes all layers alike, and {attention} starts differently in each: "
                "leave it out."
            )
