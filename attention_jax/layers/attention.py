"""Multi-head attention of any variant between linear projections: Vaswani et al. 2017, section 3.2.2."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels import AttentionOutput, Causal, Mask, Padding, Sizes, lookup, told
from attention_jax.kernels.arrays import Params, shape_of
from attention_jax.kernels.mask_algebra import terms
from attention_jax.kernels.position import encoded
from attention_jax.kernels.recipe import INPUTS, PROJECTED, Gate
from attention_jax.kernels.steps import attend_steps
from attention_jax.layers.defaults import GATES, head_norm
from attention_jax.layers.depth import FirstValues, ValueResidual, first_values
from attention_jax.layers.heads import attend_heads, mask_of_layer, out_projection, projection
from attention_jax.layers.memory import Memory, attend_memory
from attention_jax.layers.owned import owned_arrays
from attention_jax.layers.short_convolution import Kept, Past, ShortConvolution, reach_of
from attention_jax.layers.stack_options import StackOptions

# The collection that weights, or what a variant has in their place, are sown into where the caller makes it mutable;
# training never does.
LOOKED_AT = "attention"


class Seen(NamedTuple):
    """What the tokens of a stack see and where they stand: the same for all of its blocks, but for `first_values`.

    Attributes:
      mask: which tokens see which.
      positions: int [B, T], where each token stands, where that is not 0, 1, 2 ...
      grid: the rows and columns that the tokens lie in, row by row, for an attention that goes by them.
      memory: [B, S, M], what cross-attention looks at; None in steps after the first, which have prepared it.
      memory_mask: which of the memory each token sees.
      lengths: int [B], in decoding, how many of the new tokens are real.
      position_params: the arrays of a position encoding that all layers share.
      first_values: the values of the first layer, where there is one below and a value residual.
    """

    mask: Mask | None = None
    positions: Int[Array, "B T"] | None = None
    grid: tuple[int, int] | None = None
    memory: Float[Array, "B S M"] | None = None
    memory_mask: Mask | None = None
    lengths: Int[Array, " B"] | None = None
    position_params: Params | None = None
    first_values: FirstValues | None = None


class Mixed(NamedTuple):
    """What a mixer returns.

    Attributes:
      out: [B, T, D].
      state: the decode state after these tokens; None where they are all.
      first_values: the values of the first layer, for the layers above; None without a value residual.
    """

    out: Float[Array, "B T D"]
    state: Any = None
    first_values: FirstValues | None = None


class _Projected(NamedTuple):
    """What a kernel is given: queries [B, T, N, H], keys and values [B, S, K, H], and what goes beside them."""

    query: Array
    key: Array
    value: Array
    per_token: dict[str, Array]
    sizes: Sizes
    first_values: FirstValues | None


class Attention(nn.Module):
    """Projects to heads, attends with any variant, projects back, with what the variant's recipe puts between.

    Its projections are those of Flax's own MultiHeadDotProductAttention: query, key and value kernels [D, N, H], out
    [N, H, D]. The variant's own arrays are named "variant_..."; those that are drawn and not trained are in the
    collection "buffers". What the variant takes of each token beside query, key and value is a projection of its own,
    named "input_...", to [B, T, K] or [B, T, K, H].

    The recipe (kernels/recipe.py) adds short convolutions, "..._convolution", before the kernel, and "value_skip",
    "head_norm" and "output_gate" after it.

    Attributes:
      variant: the spec of the attention variant, in which a recipe may be named.
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
        past, state = self._past(inputs.shape[1], seen, state)
        inputs = self._convolved(INPUTS, inputs, past)
        projected = self._projected(inputs, seen, state, past)
        attended, state = self._attend(projected, seen, state, deterministic=deterministic)
        finished = self._finished(attended, projected.value, inputs)
        out = out_projection(self.options, inputs.shape[-1])
        return Mixed(out(finished), Kept(state, past.after) if past.after else state, projected.first_values)

    def _past(self, tokens: int, seen: Seen, state: Any) -> tuple[Past, Any]:
        """What the convolutions see, and the state of the kernel."""
        recipe = lookup(self.variant).recipe
        if self.cross and (recipe.convolved or recipe.skip or recipe.shared_query_key):
            raise Refused(
                f"cross_attention={self.variant!r} has {recipe} around it, which is for tokens that see each other: "
                "use recipe=none, or recipe=gated."
            )
        if not recipe.convolved:
            return Past(), state
        in_steps = state is not None
        reach = reach_of(
            mask_of_layer(self.options, self.layer, seen.mask), tokens, variant=lookup(self.variant), in_steps=in_steps
        )
        if not in_steps:
            return Past(reach), None
        before, state = (state.inputs, state.kernel) if isinstance(state, Kept) else (None, state)
        return Past(reach, before, seen.lengths), state

    def _attend(self, projected: _Projected, seen: Seen, state: Any, *, deterministic: bool) -> tuple[Array, Any]:
        """What the kernel makes of the tokens, and its state after them."""
        query, key, value, per_token, sizes, _ = projected
        kernel, encoding = lookup(self.variant).kernel, self._encoding()
        arguments: dict[str, Any] = {
            "variant": kernel,
            "params": self._params(sizes, seen.position_params, encoding),
            "mask": seen.memory_mask if self.cross else mask_of_layer(self.options, self.layer, seen.mask),
            "per_token": per_token or None,
            "position_encoding": encoding,
            "grid": seen.grid,
        }
        if state is not None:
            del arguments["grid"]
            arguments |= {"engine": self.options.engine, "lengths": seen.lengths}
            if self.cross:
                return attend_memory(query, key, value, state, **arguments)
            result, state = attend_steps(query, key, value, state, **arguments)
            return result.out, state
        if encoding is not None and seen.positions is not None:
            arguments["positions"] = seen.positions
        # Everything is mutable while a model is initialised.
        looked_at = self.is_mutable_collection(LOOKED_AT) and not self.is_initializing()
        formed = looked_at and lookup(kernel).claims.weights

        def attend(value: Array, outputs: tuple[str, ...] = ("out",)) -> AttentionOutput:
            given = {**arguments, "deterministic": deterministic, "outputs": outputs}
            return attend_heads(self, self.options, query, key, value, **given)

        result = attend(value, ("out", "weights") if formed else ("out",))
        if looked_at:
            found = {"weights": result.weights} if formed else self._told(projected, attend, arguments)
            for name, array in found.items():
                self.sow(LOOKED_AT, name, array)
        return result.out, None

    def _told(self, projected: _Projected, attend: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Array]:
        """What a variant that forms no weights has to show, by name."""
        query, key, value = projected[:3]
        given = {name: arguments[name] for name in ("variant", "params", "per_token")}
        found = told.gates(key, **given)
        rules = terms(arguments["mask"])
        in_order = any(isinstance(rule, Causal) for rule in rules) and all(
            isinstance(rule, (Causal, Padding)) for rule in rules
        )
        if lookup(given["variant"]).claims.state and in_order:
            given |= {"position_encoding": arguments["position_encoding"], "engine": self.options.engine}
            found["state"] = told.state_norms(query, key, value, **given)
        elif told.linear_in_values(given["variant"]):
            found["shares"] = told.shares(attend, key)
        return found

    def _finished(self, attended: Array, value: Array, inputs: Array) -> Float[Array, "B T N H"]:
        """What the recipe makes of the kernel's output."""
        recipe, options = lookup(self.variant).recipe, self.options
        if recipe.skip:
            heads = attended.shape[2]
            share = self.param("value_skip", nn.initializers.ones, (heads,)).astype(attended.dtype)
            attended = attended + share[:, None] * jnp.repeat(value, heads // value.shape[2], axis=2)
        gate = None if recipe.gate is None else self._gate(recipe.gate, inputs, attended.shape[2:])
        if gate is not None and recipe.norm_after_gate:
            attended = attended * gate
        if recipe.head_norm is not None:
            epsilon, dtype = options.norm_epsilon, options.compute_dtype
            attended = head_norm(recipe.head_norm, name="head_norm", epsilon=epsilon, dtype=dtype)(attended)
        return attended if gate is None or recipe.norm_after_gate else attended * gate

    def _gate(self, gate: Gate, inputs: Array, shape: tuple[int, ...]) -> Float[Array, "B T N H"]:
        by_channel = gate.by == "channel"
        name, shape = "output_gate", shape if by_channel else shape[:1]
        if gate.through is not None:
            bottleneck = self._projection("gate_bottleneck", (self.options.heads_width,))(inputs)
            name, inputs = "narrow_output_gate", GATES[gate.through](bottleneck)
        values = GATES[gate.activation](self._projection(name, shape)(inputs))
        return values if by_channel else values[..., None]

    def _convolved(self, name: str, array: Array, past: Past) -> Array:
        """An array of the tokens with the convolution and the activation that the recipe gives it."""
        recipe = lookup(self.variant).recipe
        if name in recipe.convolved:
            convolution = ShortConvolution(recipe.residual, name=f"{name}_convolution")
            array = convolution(past.around(name, array), past.reach)
        return nn.silu(array) if name in recipe.activated else array

    def _projected(self, inputs: Array, seen: Seen, state: Any, past: Past) -> _Projected:
        options, chosen = self.options, lookup(self.variant)
        query, first = self._heads("query", inputs, options.num_heads, past), None
        if isinstance(state, Memory):
            key, value = state.prepared.held
        else:
            kv_heads, source = options.num_kv_heads or options.num_heads, self._memory(seen) if self.cross else inputs
            shared = query[:, :, :: options.num_heads // kv_heads] if chosen.recipe.shared_query_key else None
            key = self._heads("key", source, kv_heads, past) if shared is None else shared
            value = self._heads("value", source, kv_heads, past)
            if options.value_residual is not None and not self.cross:
                first = first_values(value, seen.first_values)
                value = ValueResidual(options, name="value_residual")(value, first.values, inputs)
        if options.query_scale is not None:
            query = query * (options.query_scale * options.heads_width**0.5)
        heads, widths = (query.shape[2], key.shape[2]), (query.shape[3], key.shape[3], value.shape[3])
        sizes = Sizes(*heads, *widths, length=inputs.shape[1], grid=seen.grid, layer=self.layer)
        shapes = {name: shape_of(one.axes, sizes, owner=name) for name, one in chosen.mechanism.per_token.items()}
        per_token = {
            name: self._convolved(name, self._projection(f"input_{name}", shape)(inputs), past)
            for name, shape in shapes.items()
        }
        return _Projected(query, key, value, per_token, sizes, first)

    def _heads(self, name: str, inputs: Array, heads: int, past: Past) -> Float[Array, "B T N H"]:
        options = self.options
        array = self._convolved(name, self._projection(name, (heads, options.heads_width))(inputs), past)
        if not options.query_key_norm or name == "value":
            return array
        return options.make_norm(f"{name}_norm", kind="rms")(array)

    def _memory(self, seen: Seen) -> Array:
        if seen.memory is None:
            raise Refused(
                f"cross_attention={self.variant!r} looks at a memory and there is none: give the model an encoder, or "
                "leave out cross_attention."
            )
        return seen.memory

    def _encoding(self) -> str | None:
        """The spec of the position encoding in the logits."""
        return None if self.cross else self.options.encoding_of(self.layer)

    def _projection(self, name: str, shape: tuple[int, ...]) -> nn.DenseGeneral:
        """What a variant takes of each token, and a gate, have a bias where the queries have one."""
        return projection(self.options, name, shape, biased_as=name if name in PROJECTED else "query")

    def _params(self, sizes: Sizes, shared: Params | None, encoding: str | None) -> Params:
        """The variant's own arrays and those of the position encoding."""
        kernel, own = lookup(self.variant).kernel, None if shared is not None else encoding
        declared = encoded(kernel, own).mechanism.arrays
        mine = owned_arrays(self, declared, sizes, name_of="variant_{}".format)
        return mine if shared is None or encoding is None else shared | mine
