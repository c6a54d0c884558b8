"""A recurrent decoder that looks at a memory at each token: Bahdanau et al. 2015, Luong et al. 2015."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.kernels import Padding, Sizes, attend, lookup
from attention_jax.kernels.steps import Fixed, Fresh
from attention_jax.layers import recurrent
from attention_jax.layers.attention import LOOKED_AT
from attention_jax.layers.memory import Memory, attend_memory
from attention_jax.layers.owned import owned_arrays
from attention_jax.layers.padding import lengths_of
from attention_jax.layers.pooling import Pooling
from attention_jax.layers.product import product
from attention_jax.layers.recurrent import Carry, Recurrent, RecurrentOptions

BAHDANAU, LUONG = "bahdanau", "luong"
NONE, STATIC = "none", "static"

PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    *recurrent.PARAMETER_RULES,
    (r"(.*[/_])?fed_kernel", ("fsdp",)),
    (r"(.*/)?(start|combined|maxout)/kernel", ("fsdp",)),
    (r"(.*/)?(start|combined|maxout)/bias", ()),
    (r"(.*/)?variant_\w+", ()),
    (r"(.*/)?static/pooling_\w+", ()),
)


class DecoderState(NamedTuple):
    """What is kept of the target's tokens so far: a pytree, each leaf with the batch first.

    Attributes:
      carries: what each recurrent layer carries.
      fed: [B, F], what the last token hands to the next: its output where that is fed, else nothing, [B, 0].
      alignment: what an alignment keeps; None of other variants.
      context: [B, E] of a context that is the same for all tokens; else [B, 0].
      number: int32 [B], how many tokens there were.
    """

    carries: tuple[Carry, ...]
    fed: Float[Array, "B F"]
    alignment: Any
    context: Float[Array, "B E"]
    number: Int[Array, " B"]


class AlignedDecoder(nn.Module):
    """Writes a target while it looks at a memory, whose vectors are keys and values as they are, in one head.

    "bahdanau": the query is the state before the token, s_{i-1}; the context c_i goes into the gates, and the output is
    a maxout layer over s_{i-1}, the token's vector and c_i (appendix A.2.2). "luong": the query is the state after the
    token, h_t, and the output is h~_t = tanh(W_c [c_t; h_t]) (equation 5), which with `input_feeding` goes into the
    gates of the next token (section 3.3).

    Attributes:
      options: of the recurrent layers.
      form: "bahdanau" or "luong".
      attention: the spec of an attention variant; "none": there is no context; "static": there is one for all tokens,
        the pooling `by_query` of the memory with a learned query.
      input_feeding: of the form "luong".
      memory_length: the longest memory, for a variant with numbers of its own for each place.
    """

    options: RecurrentOptions
    memory_length: int
    form: str = LUONG
    attention: str = "general"
    input_feeding: bool = True

    @nn.compact
    def __call__(
        self,
        embedded: Float[Array, "b T D"],
        memory: Float[Array, "B S E"],
        memory_lengths: Int[Array, " B"],
        *,
        last: Float[Array, "B M"] | None = None,
        state: DecoderState | None = None,
        lengths: Int[Array, " b"] | None = None,
        deterministic: bool = True,
    ) -> tuple[Float[Array, "b T O"], DecoderState]:
        """Returns the output at each token, and the state after them.

        Args:
          embedded: [b, T, D], the target's tokens; b is a multiple of B: several continuations of one memory.
          memory: [B, S, E].
          memory_lengths: [B], how many of each memory are real.
          last: [B, M], what the first state is made of, where there is none yet.
          state: after the tokens before these; None: these are the first.
          lengths: [b], how many of the tokens, from the first, are real; None: all are.
          deterministic: no dropout, and what is likeliest of a variant that draws; otherwise the rng "dropout" is used.

        Raises:
          Refused: the attention cannot look at a memory in this way.
        """
        _check(self.form, self.attention)
        looks = _Looks(self, memory, memory_lengths, self._variant_params(memory.shape[-1]))
        if state is None:
            assert last is not None
            state = self._begun(last, memory, memory_lengths, looks)
        lengths = lengths_of(embedded, lengths)
        rng = self.make_rng("dropout") if not deterministic and looks.draws else None
        if self.form == LUONG and not self._feeds:
            out, queries, state = self._side_by_side(embedded, state, lengths, looks, rng, deterministic=deterministic)
        else:
            out, queries, state = self._one_by_one(embedded, state, lengths, looks, rng)
        if looks.variant is not None and self.is_mutable_collection(LOOKED_AT) and not self.is_initializing():
            self.sow(LOOKED_AT, "weights", looks.weights(queries))
        return out, state._replace(number=state.number + lengths)

    @property
    def _feeds(self) -> bool:
        return self.form == LUONG and self.input_feeding and self.attention not in (NONE, STATIC)

    def _variant_params(self, width: int) -> dict[str, Array]:
        if self.attention in (NONE, STATIC):
            return {}
        sizes = Sizes(1, 1, self.options.width, width, width, length=self.memory_length)
        return owned_arrays(self, lookup(self.attention).mechanism.arrays, sizes, name_of="variant_{}".format)

    def _begun(self, last: Array, memory: Array, memory_lengths: Array, looks: "_Looks") -> DecoderState:
        """The state before the first token: all that is carried is a layer of what the encoder ended with."""
        batch, width = len(last), self.options.width
        carried = recurrent.CELLS[self.options.cell].carries
        first = nn.Dense(self.options.num_layers * carried * width, dot_general=product, name="start")(last)
        each = iter(jnp.split(jnp.tanh(first), self.options.num_layers * carried, axis=-1))
        carries = tuple(tuple(next(each) for _ in range(carried)) for _ in range(self.options.num_layers))
        context = jnp.zeros((batch, 0), last.dtype)
        if self.attention == STATIC:
            context = Pooling("by_query", name="static")(memory, mask=Padding(memory_lengths))
        fed = jnp.zeros((batch, width if self._feeds else 0), last.dtype)
        return DecoderState(carries, fed, looks.begun(carries[-1][0]), context, jnp.zeros(batch, jnp.int32))

    def _side_by_side(
        self,
        embedded: Array,
        state: DecoderState,
        lengths: Array,
        looks: "_Looks",
        rng: PRNGKeyArray | None,
        *,
        deterministic: bool,
    ) -> tuple[Array, Array, DecoderState]:
        """All tokens at once, where none needs the context of the one before: output, queries and state."""
        layers = Recurrent(self.options, name="layers")
        ran = layers(embedded, lengths=lengths, carries=state.carries, deterministic=deterministic)
        context, alignment = looks.context(ran.outputs, state, lengths, rng)
        out = jnp.tanh(self._dense("combined", self.options.width)(jnp.concatenate([context, ran.outputs], axis=-1)))
        return out, ran.outputs, state._replace(carries=ran.carries, alignment=alignment)

    def _one_by_one(
        self, embedded: Array, state: DecoderState, lengths: Array, looks: "_Looks", rng: PRNGKeyArray | None
    ) -> tuple[Array, Array, DecoderState]:
        """One token after the other: output, queries and state."""
        width, tokens = self.options.width, embedded.shape[1]
        fed_width = width if self.form == LUONG else looks.width
        layers = [
            _Layer(self, f"layer_{layer}", width, (embedded.shape[-1], fed_width) if layer == 1 else (width, 0))
            for layer in range(1, self.options.num_layers + 1)
        ]
        combine = self._combined(looks.width + width) if self.form == LUONG else None
        given = layers[0].of_inputs(embedded).swapaxes(0, 1)
        real = jnp.arange(tokens)[:, None] < lengths

        def step(state: DecoderState, token: tuple[Array, Bool[Array, " b"], Array]) -> Any:
            of_input, is_real, number = token
            drawn = None if rng is None else jax.random.fold_in(rng, number)
            before = state.carries[-1][0]
            if combine is None:
                context, alignment = looks.context(before[:, None], state, is_real.astype(jnp.int32), drawn)
                carries = _through(layers, of_input, context[:, 0], state.carries)
                query, fed = before, state.fed
            else:
                carries = _through(layers, of_input, state.fed, state.carries)
                query = carries[-1][0]
                context, alignment = looks.context(query[:, None], state, is_real.astype(jnp.int32), drawn)
                fed = combine(jnp.concatenate([context[:, 0], query], axis=-1))
            kept = _where(is_real, (carries, fed), (state.carries, state.fed))
            after = state._replace(carries=kept[0], fed=kept[1], alignment=alignment, number=state.number + is_real)
            return after, (query, context[:, 0], fed)

        numbers = jnp.arange(tokens)
        after, found = jax.lax.scan(step, state, (given, real, numbers))
        queries, contexts, outputs = (jnp.swapaxes(array, 0, 1) for array in found)
        after = after._replace(number=state.number)
        if self.form == LUONG:
            return outputs, queries, after
        twice = self._dense("maxout", 2 * width)(jnp.concatenate([queries, embedded, contexts], axis=-1))
        return twice.reshape(*twice.shape[:2], width, 2).max(-1), queries, after

    def _dense(self, name: str, width: int) -> nn.Dense:
        return nn.Dense(width, kernel_init=nn.initializers.xavier_uniform(), dot_general=product, name=name)

    def _combined(self, width: int) -> Callable[[Array], Array]:
        """tanh(W_c x), its arrays made before the loop."""
        layer = self._dense("combined", self.options.width)
        if self.is_initializing():
            layer(jnp.zeros((1, width)))
        params = layer.variables["params"]
        return lambda array: jnp.tanh(array @ params["kernel"].astype(array.dtype) + params["bias"].astype(array.dtype))


class _Looks:
    """What a decoder sees of a memory."""

    def __init__(self, decoder: AlignedDecoder, memory: Array, lengths: Array, params: dict[str, Array]):
        dynamic = decoder.attention not in (NONE, STATIC)
        self.variant = decoder.attention if dynamic else None
        self.draws = dynamic and lookup(decoder.attention).mechanism.draws
        self.width = 0 if decoder.attention == NONE else memory.shape[-1]
        self._key, self._mask, self._params = memory[:, :, None], Padding(lengths), params
        # A window about the query's own position must be told of it.
        self._placed = dynamic and lookup(decoder.attention).mechanism.mask is not None

    def begun(self, query: Float[Array, "B W"]) -> Any:
        """What an alignment keeps before the first query."""
        if self.variant is None or not lookup(self.variant).claims.steps:
            return None
        nothing = jnp.zeros(len(query), jnp.int32)
        return self._attended(query[:, None], Fresh(1), nothing, nothing, None)[1].alignment

    def context(
        self, queries: Float[Array, "b T W"], state: DecoderState, lengths: Array, rng: PRNGKeyArray | None
    ) -> tuple[Float[Array, "b T E"], Any]:
        """What each query gathers, and what an alignment keeps after them."""
        if self.variant is None:
            shape = (*queries.shape[:2], state.context.shape[-1])
            return jnp.broadcast_to(state.context[:, None], shape), state.alignment
        before = Memory(Fixed((self._key, self._key)), state.alignment)
        out, after = self._attended(queries, before, lengths, state.number, rng)
        return out, after.alignment

    def weights(self, queries: Float[Array, "B T W"]) -> Float[Array, "B 1 T S"]:
        """The weights of all queries from the first, for `LOOKED_AT`."""
        assert self.variant is not None
        arguments = self._arguments(jnp.zeros(len(queries), jnp.int32), queries, None)
        found = attend(queries[:, :, None], self._key, self._key, mask=self._mask, outputs=("weights",), **arguments)
        assert found.weights is not None
        return found.weights

    def _attended(self, queries: Array, state: Any, lengths: Array, number: Array, rng: Any) -> tuple[Array, Memory]:
        arguments = self._arguments(number, queries, rng)
        out, after = attend_memory(
            queries[:, :, None], self._key, self._key, state, lengths=lengths, mask=self._mask, **arguments
        )
        return out[:, :, 0] if out.ndim == 4 else out, after

    def _arguments(self, number: Array, queries: Array, rng: PRNGKeyArray | None) -> dict[str, Any]:
        assert self.variant is not None
        arguments: dict[str, Any] = {"variant": self.variant, "params": self._params, "rng": rng}
        if self._placed:
            places = number[:, None] + jnp.arange(queries.shape[1])
            keys = jnp.arange(self._key.shape[1])[None]
            arguments["positions"] = (places.reshape(len(self._key), -1), keys)
        return arguments


class _Layer:
    """A recurrent layer of the loop, its arrays made before it: they are the decoder's, named after it."""

    def __init__(self, decoder: AlignedDecoder, name: str, width: int, widths: tuple[int, int]):
        cell = recurrent.CELLS[decoder.options.cell]
        self._cell, self._kind, gates = decoder.options.cell, cell, cell.gates_width(width)
        drawn, fed = nn.initializers.xavier_uniform(), widths[1]
        self._into = decoder.param(f"{name}_input_kernel", drawn, (widths[0], gates))
        self._fed = decoder.param(f"{name}_fed_kernel", drawn, (fed, gates)) if fed else None
        self._recurrent = decoder.param(f"{name}_recurrent_kernel", recurrent.orthogonal_blocks, (width, gates))
        starts = recurrent.first_bias(decoder.options)
        self._bias = decoder.param(f"{name}_input_bias", starts, (gates,))
        self._candidate = (
            decoder.param(f"{name}_candidate_bias", nn.initializers.zeros, (width,)) if cell.candidate_bias else None
        )

    def of_inputs(self, inputs: Float[Array, "... D"]) -> Float[Array, "... C"]:
        """The part of the gates that is made of the layer's input."""
        return product(inputs, self._into, (((inputs.ndim - 1,), (0,)), ((), ()))) + self._bias

    def after(self, given: Array, fed: Array | None, carry: Carry) -> Carry:
        """What is carried after a token."""
        if self._fed is not None and fed is not None:
            given = given + fed @ self._fed
        return recurrent.advance(self._cell, carry, given, self._recurrent, self._candidate)


def _through(layers: list[_Layer], given: Array, fed: Array, carries: tuple[Carry, ...]) -> tuple[Carry, ...]:
    """What all layers carry after a token."""
    after = [layers[0].after(given, fed, carries[0])]
    for layer, carry in zip(layers[1:], carries[1:], strict=True):
        after.append(layer.after(layer.of_inputs(after[-1][0]), None, carry))
    return tuple(after)


def _where(real: Bool[Array, " b"], new: Any, old: Any) -> Any:
    return jax.tree.map(lambda one, other: jnp.where(real[:, None], one, other), new, old)


def _check(form: str, attention: str) -> None:
    if form not in (BAHDANAU, LUONG):
        raise Refused(f"model.form={form!r} is no form of a recurrent decoder: give {BAHDANAU} or {LUONG}.")
    if attention in (NONE, STATIC):
        return
    chosen = lookup(attention)
    if chosen.mechanism.per_token:
        raise Refused(
            f"model.attention={attention!r} takes {', '.join(chosen.mechanism.per_token)} of each token, which this "
            "decoder does not make: use such as additive, general or location_sensitive."
        )
    if "log_probability" in chosen.claims.aux:
        raise Refused(
            f"model.attention={attention!r} draws what has no derivative, and would learn nothing of its queries here: "
            "use gumbel:hard=True, which draws and has one."
        )
