"""Multi-head attention of any variant between linear projections: Vaswani et al. 2017, section 3.2.2."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels import Dense, Mask, Sizes, Window, init, lookup
from attention_jax.kernels.arrays import Params, shape_of
from attention_jax.kernels.mask_algebra import conjunction
from attention_jax.kernels.position import encoded
from attention_jax.kernels.steps import Fresh, attend_steps
from attention_jax.layers.defaults import norm
from attention_jax.layers.product import product
from attention_jax.layers.spread import spread_attend
from attention_jax.layers.stack_options import StackOptions


def require_causal(variant: str, *, owner: str, approximate: bool = False) -> None:
    """Checks that a variant can be trained to predict the next token.

    Args:
      variant: its spec.
      owner: what needs it, for the message.
      approximate: accept one whose choice of what to attend to can leak the future.

    Raises:
      Refused: it has no causal form, or one that can leak and `approximate` is False.
    """
    causal = lookup(variant).claims.causal
    if causal == "no":
        raise Refused(f"{owner} predicts the next token, and {variant} has no causal form. Use variant scaled_dot.")
    if causal == "approximate" and not approximate:
        raise Refused(
            f"{owner} predicts the next token, and {variant} can leak it: its choice of keys depends on the future. "
            "Use a strictly causal variant, or set approximate_causal=True to accept the leak."
        )


# The collection that the weights are sown into where the caller makes it mutable; training never does.
LOOKED_AT = "attention"


class Seen(NamedTuple):
    """What the tokens of a stack see and where they stand: the same for all of its blocks.

    Attributes:
      mask: which tokens see which.
      positions: int [B, T], where each token stands, where that is not 0, 1, 2 ...
      grid: the rows and columns that the tokens lie in, row by row, for an attention that goes by them.
      memory: [B, S, M], what cross-attention looks at; None in steps after the first, which have prepared it.
      memory_mask: which of the memory each token sees.
      lengths: int [B], in decoding, how many of the new tokens are real.
      position_params: the arrays of a position encoding that all layers share.
    """

    mask: Mask | None = None
    positions: Int[Array, "B T"] | None = None
    grid: tuple[int, int] | None = None
    memory: Float[Array, "B S M"] | None = None
    memory_mask: Mask | None = None
    lengths: Int[Array, " B"] | None = None
    position_params: Params | None = None


class Mixed(NamedTuple):
    """What a mixer returns.

    Attributes:
      out: [B, T, D].
      state: the decode state after these tokens; None where they are all.
    """

    out: Float[Array, "B T D"]
    state: Any = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Memory:
    """The keys and values of a memory, prepared once for all steps, and the state of an alignment to it. A pytree.

    Attributes:
      key: [B, S, K, H].
      value: [B, S, K, H].
      alignment: what an alignment keeps from step to step; None of other variants.
    """

    key: Float[Array, "B S K H"]
    value: Float[Array, "B S K H"]
    alignment: Any = None


class Attention(nn.Module):
    """Projects to heads, attends with any variant, projects back.

    Its projections are those of Flax's own MultiHeadDotProductAttention: query, key and value kernels [D, N, H], out
    [N, H, D]. The variant's own arrays are named "variant_..."; those that are drawn and not trained are in the
    collection "buffers". What the variant takes of each token beside query, key and value is a projection of its own,
    named "input_...", to [B, T, K] or [B, T, K, H].

    Attributes:
      variant: the spec of the attention variant.
      options: of the stack.
      layer: the number of the layer, from 1.
      cross: whether keys and values are of the memory and not of the tokens.
    """

    variant: str
    options: StackOptions
    layer: int = 1
    cross: bool = False

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "B T D"], seen: Seen, *, state: Any = None, deterministic: bool = True
    ) -> Mixed:
        """Returns what each token gathers from those it sees, [B, T, D].

        Args:
          inputs: [B, T, D].
          seen: what they see, and where they stand.
          state: what is kept of the tokens before these, where they are decoded in steps.
          deterministic: no dropout, and what is likeliest of a variant that draws; otherwise the rng "dropout" is used.

        Raises:
          Refused: the heads do not divide the width, there is no memory, or the variant cannot do what is asked.
        """
        attended, state = self._attend(inputs, seen, state, deterministic=deterministic)
        out = self._projection("out", (inputs.shape[-1],), axis=(-2, -1), kernel_init=self.options.out_init)
        return Mixed(out(attended), state)

    def _attend(self, inputs: Array, seen: Seen, state: Any, *, deterministic: bool) -> tuple[Array, Any]:
        query = self._query(inputs)
        if isinstance(state, Memory):
            key, value = state.key, state.value
        else:
            key, value = self._keys(self._memory(seen) if self.cross else inputs)
        sizes = Sizes(
            query.shape[2],
            key.shape[2],
            query.shape[3],
            key.shape[3],
            value.shape[3],
            length=inputs.shape[1],
            grid=seen.grid,
            layer=self.layer,
        )
        encoding = self._encoding()
        arguments: dict[str, Any] = {
            "variant": self.variant,
            "params": self._params(sizes, seen.position_params, encoding),
            "mask": seen.memory_mask if self.cross else self._mask(seen.mask),
            "per_token": self._per_token(inputs, sizes) or None,
            "position_encoding": encoding,
            "grid": seen.grid,
        }
        if state is not None and not self.cross:
            assert seen.lengths is not None
            del arguments["grid"]
            engine = self.options.engine
            result, state = attend_steps(query, key, value, state, lengths=seen.lengths, engine=engine, **arguments)
            return result.out, state
        if state is not None:
            return _attend_memory(query, key, value, state, lengths=seen.lengths, **arguments)
        rate = 0.0 if deterministic else self.options.attention_dropout_rate
        draws = not deterministic and lookup(self.variant).mechanism.draws
        if encoding is not None and seen.positions is not None:
            arguments["positions"] = seen.positions
        # Everything is mutable while a model is initialised.
        looked_at = self.is_mutable_collection(LOOKED_AT) and not self.is_initializing()
        looked_at = looked_at and lookup(self.variant).claims.weights
        result = spread_attend()(
            query,
            key,
            value,
            dropout_rate=rate,
            rng=self.make_rng("dropout") if rate or draws else None,
            engine=self.options.engine,
            outputs=("out", "weights") if looked_at else ("out",),
            **arguments,
        )
        if looked_at:
            self.sow(LOOKED_AT, "weights", result.weights)
        return result.out, None

    def _query(self, inputs: Array) -> Float[Array, "B T N H"]:
        options, width = self.options, self.options.heads_width
        query = self._projection("query", (options.num_heads, width))(inputs)
        if options.query_key_norm:
            query = self._head_norm("query_norm")(query)
        return query if options.query_scale is None else query * (options.query_scale * width**0.5)

    def _keys(self, inputs: Array) -> tuple[Float[Array, "B S K H"], Float[Array, "B S K H"]]:
        options = self.options
        shape = (options.num_kv_heads or options.num_heads, options.heads_width)
        key, value = self._projection("key", shape)(inputs), self._projection("value", shape)(inputs)
        return self._head_norm("key_norm")(key) if options.query_key_norm else key, value

    def _memory(self, seen: Seen) -> Array:
        if seen.memory is None:
            raise Refused(
                f"cross_attention={self.variant!r} looks at a memory and there is none: give the model an encoder, or "
                "leave out cross_attention."
            )
        return seen.memory

    def _mask(self, mask: Mask | None) -> Mask | None:
        window = self.options.of_layer("window", self.layer)
        return conjunction(mask, None if window is None else Window(window))

    def _encoding(self) -> str | None:
        """The spec of the position encoding in the logits."""
        return None if self.cross else self.options.encoding_of(self.layer)

    def _head_norm(self, name: str) -> nn.Module:
        return norm("rms", name=name, epsilon=self.options.norm_epsilon, dtype=self.options.compute_dtype)

    def _projection(self, name: str, shape: tuple[int, ...], **changes: Any) -> nn.DenseGeneral:
        options = self.options
        # What a variant takes of each token has a bias where its queries have one.
        use_bias = options.has_bias("query" if name.startswith("input_") else name)
        arguments = {"kernel_init": options.kernel_init, "dtype": options.compute_dtype, **changes}
        return nn.DenseGeneral(shape, use_bias=use_bias, dot_general=product, name=name, **arguments)

    def _per_token(self, inputs: Array, sizes: Sizes) -> dict[str, Array]:
        return {
            name: self._projection(f"input_{name}", shape_of(one.axes, sizes, owner=name))(inputs)
            for name, one in lookup(self.variant).mechanism.per_token.items()
        }

    def _params(self, sizes: Sizes, shared: Params | None, encoding: str | None) -> Params:
        """The variant's own arrays and those of the position encoding, drawn all at once.

        One with a number for each place of a sequence may be longer than this one, which `self.param` would refuse.
        """
        own = None if shared is not None else encoding
        if self.is_initializing():
            trained, drawn = init(self.variant, self.make_rng("params"), sizes, own)
            for name, array in trained.items():
                self.param(f"variant_{name}", lambda rng, array=array: array)
            for name, array in drawn.items():
                self.variable("buffers", f"variant_{name}", lambda array=array: array)
        declared = encoded(self.variant, own).mechanism.arrays
        return (shared or {} if encoding is not None else {}) | {
            name: self.get_variable("params" if one.trained else "buffers", f"variant_{name}")
            for name, one in declared.items()
        }


def _attend_memory(
    query: Array, key: Array, value: Array, state: Memory | Fresh, *, lengths: Int[Array, " B"] | None, **arguments: Any
) -> tuple[Array, Memory]:
    """A step of cross-attention; an alignment goes on from where the step before it left off."""
    if not lookup(arguments["variant"]).claims.steps:
        return spread_attend()(query, key, value, **arguments).out, Memory(key, value)
    if lengths is not None:
        # A query that is not real sees nothing, and so moves nothing.
        real = jnp.arange(query.shape[1]) < lengths[:, None]
        shape = (*query.shape[:1], query.shape[2], query.shape[1], key.shape[1])
        arguments["mask"] = conjunction(arguments["mask"], Dense(jnp.broadcast_to(real[:, None, :, None], shape)))
    alignment = None if isinstance(state, Fresh) else state.alignment
    result = spread_attend()(query, key, value, state=alignment, outputs=("out", "state"), **arguments)
    return result.out, Memory(key, value, result.state)
