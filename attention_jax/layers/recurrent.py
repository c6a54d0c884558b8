"""Recurrent layers over sequences of unequal length, in one direction or in both.

LSTM: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000. GRU: Cho et al. 2014, its reset gate
after the product as in cuDNN, PyTorch and Flax ("gru"), or before it as published ("gru_reset_before").
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.layers.defaults import compute_dtype
from attention_jax.layers.product import product
from attention_jax.layers.spread import gathered, on_one_device

Carry: TypeAlias = tuple[Float[Array, "B W"], ...]
"""What a cell carries from step to step: the hidden state h, and of an LSTM the cell state c after it."""

Times: TypeAlias = Callable[[Float[Array, "B W"]], Float[Array, "B C"]]
"""times(vector): the product of a vector with the columns of the recurrent kernel that come next."""

PARAMETER_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    (r"(.*[/_])?(input|recurrent)_kernel", ("fsdp",)),
    (r"(.*[/_])?(input|candidate)_bias", ()),
)


class _Cell(NamedTuple):
    """A kind of cell.

    Attributes:
      products: the gates that each product with the recurrent kernel is for, in their order; all are made of the input
        too.
      carries: how many vectors it carries.
      candidate_bias: whether the product of the hidden state has a bias of its own in the candidate.
      advance: (carry, the input's part of the gates [B, G W], times, the candidate's bias) -> the carry after it.
    """

    products: tuple[int, ...]
    carries: int
    candidate_bias: bool
    advance: Callable[[Carry, Array, Times, Array | None], Carry]

    def gates_width(self, width: int) -> int:
        """Returns C, the width of all gates of a cell."""
        return sum(self.products) * width

    def columns(self, width: int) -> list[slice]:
        """Returns the columns of the recurrent kernel that each product is with."""
        ends = list(accumulate(gates * width for gates in self.products))
        return [slice(start, end) for start, end in pairwise([0, *ends])]


def _lstm(carry: Carry, inputs: Array, times: Times, bias: Array | None) -> Carry:
    """Gates in PyTorch's order: input, forget, candidate, output."""
    hidden, cell = carry
    write, keep, candidate, show = jnp.split(inputs + times(hidden), 4, axis=-1)
    cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(write) * jnp.tanh(candidate)
    return jax.nn.sigmoid(show) * jnp.tanh(cell), cell


def _gru(carry: Carry, inputs: Array, times: Times, bias: Array | None) -> Carry:
    """Gates in PyTorch's order: reset, update, candidate."""
    assert bias is not None
    (hidden,) = carry
    given, own = jnp.split(inputs, 3, axis=-1), jnp.split(times(hidden), 3, axis=-1)
    reset, update = jax.nn.sigmoid(given[0] + own[0]), jax.nn.sigmoid(given[1] + own[1])
    candidate = jnp.tanh(given[2] + reset * (own[2] + bias))
    return (candidate + update * (hidden - candidate),)


def _gru_reset_before(carry: Carry, inputs: Array, times: Times, bias: Array | None) -> Carry:
    (hidden,), width = carry, inputs.shape[-1] // 3
    gates = jax.nn.sigmoid(inputs[:, : 2 * width] + times(hidden))
    reset, update = jnp.split(gates, 2, axis=-1)
    candidate = jnp.tanh(inputs[:, 2 * width :] + times(reset * hidden))
    return (candidate + update * (hidden - candidate),)


CELLS = {
    "lstm": _Cell((4,), 2, False, _lstm),
    "gru": _Cell((3,), 1, True, _gru),
    "gru_reset_before": _Cell((2, 1), 1, False, _gru_reset_before),
}


@dataclass(frozen=True, kw_only=True)
class RecurrentOptions:
    """How recurrent layers are made.

    Attributes:
      cell: "lstm", "gru" or "gru_reset_before".
      width: W, units of one direction.
      num_layers: how many, each over the outputs of the one before.
      bidirectional: whether each layer also reads from the last token to the first, and has both outputs side by side.
      dropout_rate: of what goes into each layer after the first.
      dtype: what it computes in.
    """

    cell: str = "lstm"
    width: int = 256
    num_layers: int = 1
    bidirectional: bool = False
    dropout_rate: float = 0.0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Checks what can be checked before there is an input.

        Raises:
          Refused: a size leaves nothing to compute, or an option has no such value.
        """
        if self.cell not in CELLS:
            raise Refused(f"there is no recurrent cell {self.cell!r}.{did_you_mean(str(self.cell), CELLS)}")
        for name in ("width", "num_layers"):
            if getattr(self, name) < 1:
                raise Refused(f"recurrent layers have {name}={getattr(self, name)}: give at least 1.")
        if not 0 <= self.dropout_rate < 1:
            raise Refused(f"recurrent layers have dropout_rate={self.dropout_rate}: give a share in [0, 1).")

    @property
    def out_width(self) -> int:
        """The width of what a layer returns of each token."""
        return self.width * (1 + self.bidirectional)


class Ran(NamedTuple):
    """What recurrent layers return.

    Attributes:
      outputs: [B, T, E], the hidden state at each token of the last layer, of both directions side by side; 0 at
        padding.
      carries: what each layer carries after the last real token, from the first layer; of a bidirectional one first
        what the forward direction does, then the backward one, which ends at the first token.
    """

    outputs: Float[Array, "B T E"]
    carries: tuple[Carry, ...]

    def last(self, directions: int = 1) -> Float[Array, "B E"]:
        """Returns the hidden state of the last layer after the last token; of two directions both side by side."""
        return jnp.concatenate([carry[0] for carry in self.carries[-directions:]], axis=-1)

    def joined(self, directions: int = 1) -> tuple[Carry, ...]:
        """Returns what each layer carries after the last token, of two directions both side by side."""
        layers = [self.carries[first : first + directions] for first in range(0, len(self.carries), directions)]
        return tuple(tuple(jnp.concatenate(part, axis=-1) for part in zip(*layer, strict=True)) for layer in layers)


class RecurrentCell(nn.Module):
    """One cell of one direction.

    Its parameters are input_kernel [D, G W], recurrent_kernel [W, G W], input_bias [G W], gates in PyTorch's order, and
    of "gru" candidate_bias [W], the part of PyTorch's second bias that does not add to the first. Input kernels are
    drawn as Glorot & Bengio 2010, recurrent ones orthogonal; an LSTM starts with a forget gate of bias 1.

    Attributes:
      options: of the layers.
    """

    options: RecurrentOptions

    def start(self, batch: int) -> Carry:
        """Returns what is carried before the first token: zeros."""
        shape = (batch, self.options.width)
        return tuple(
            jnp.zeros(shape, compute_dtype(self.options.dtype)) for _ in range(CELLS[self.options.cell].carries)
        )

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "B T D"],
        *,
        lengths: Int[Array, " B"] | None = None,
        carry: Carry | None = None,
        reverse: bool = False,
    ) -> tuple[Float[Array, "B T W"], Carry]:
        """Returns the hidden state at each token, 0 at padding, and what is carried after the last.

        Args:
          inputs: [B, T, D].
          lengths: [B], how many tokens of each sequence, from the first, are real; None: all are.
          carry: before the first token; None is zeros.
          reverse: from the last real token to the first.
        """
        options, cell = self.options, CELLS[self.options.cell]
        width, gates, dtype = options.width, cell.gates_width(options.width), compute_dtype(options.dtype)
        into = self.param("input_kernel", nn.initializers.xavier_uniform(), (inputs.shape[-1], gates))
        recurrent = self.param("recurrent_kernel", orthogonal_blocks, (width, gates))
        bias = self.param("input_bias", first_bias(options), (gates,))
        of_candidate = self.param("candidate_bias", nn.initializers.zeros, (width,)) if cell.candidate_bias else None
        inputs, into, bias, recurrent, of_candidate = nn.dtypes.promote_dtype(
            inputs, gathered(into), bias, gathered(recurrent), of_candidate, dtype=dtype
        )
        # By token first, as the scan goes: what is widened here is not copied into another order then. Rows that lie on
        # several devices do not become one axis behind the tokens without being gathered.
        times = product if on_one_device() else jax.lax.dot_general
        given = times(inputs.swapaxes(0, 1), into, (((2,), (0,)), ((), ()))) + bias
        tokens = jnp.arange(len(given))[:, None]
        real = jnp.full(given.shape[:2], True) if lengths is None else tokens < lengths
        carry = self.start(given.shape[1]) if carry is None else carry
        hidden, carry = _run(options.cell, reverse, given, real, recurrent, of_candidate, carry)
        return hidden.swapaxes(0, 1), carry


class Recurrent(nn.Module):
    """Recurrent layers one over the other, named "forward_1", "backward_1", "forward_2" and so on.

    Attributes:
      options: of the layers.
    """

    options: RecurrentOptions

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "B T D"],
        *,
        lengths: Int[Array, " B"] | None = None,
        carries: tuple[Carry, ...] | None = None,
        deterministic: bool = True,
    ) -> Ran:
        """Returns what the layers make of sequences.

        Args:
          inputs: [B, T, D].
          lengths: [B], how many tokens of each sequence, from the first, are real; the backward direction starts at
            the last of them. None: all are.
          carries: what was carried before the first token, as `Ran` has it; None is zeros.
          deterministic: no dropout; otherwise the rng "dropout" is used.
        """
        options, after = self.options, []
        before = iter(carries) if carries is not None else iter(())
        for layer in range(1, options.num_layers + 1):
            if layer > 1 and options.dropout_rate:
                inputs = nn.Dropout(options.dropout_rate)(inputs, deterministic=deterministic)
            directions = []
            for direction in ("forward", "backward")[: 1 + options.bidirectional]:
                cell = RecurrentCell(options, name=f"{direction}_{layer}")
                outputs, carry = cell(
                    inputs, lengths=lengths, carry=next(before, None), reverse=direction == "backward"
                )
                directions.append(outputs)
                after.append(carry)
            inputs = jnp.concatenate(directions, axis=-1)
        return Ran(inputs, tuple(after))


def orthogonal_blocks(key: Array, shape: tuple[int, int]) -> Float[Array, "W C"]:
    """Draws an orthogonal matrix for each gate."""
    width, gates = shape[0], shape[1] // shape[0]
    blocks = [nn.initializers.orthogonal()(each, (width, width), jnp.float32) for each in jax.random.split(key, gates)]
    return jnp.concatenate(blocks, axis=1)


def first_bias(options: RecurrentOptions) -> nn.initializers.Initializer:
    """Returns what draws a cell's bias: zeros, and 1 in the forget gate of an LSTM (Jozefowicz et al. 2015)."""

    def drawn(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Float[Array, " C"]:
        bias = jnp.zeros(shape, dtype)
        return bias.at[options.width : 2 * options.width].set(1.0) if options.cell == "lstm" else bias

    return drawn


def advance(
    cell: str, carry: Carry, given: Float[Array, "B C"], kernel: Float[Array, "W C"], bias: Float[Array, " W"] | None
) -> Carry:
    """Returns what a cell carries after one token.

    Args:
      cell: its name.
      carry: before the token.
      given: [B, C], the input's part of the gates.
      kernel: [W, C], the recurrent kernel.
      bias: [W], of the candidate, where the cell has one.
    """
    columns = iter(CELLS[cell].columns(len(kernel)))
    return CELLS[cell].advance(carry, given, lambda vector: vector @ kernel[:, next(columns)], bias)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _run(
    cell: str,
    reverse: bool,
    given: Float[Array, "T B C"],
    real: Bool[Array, "T B"],
    recurrent: Float[Array, "W C"],
    bias: Float[Array, " W"] | None,
    carry: Carry,
) -> tuple[Float[Array, "T B W"], Carry]:
    """Returns the hidden state at each token, and what is carried after the last; it has no forward-mode derivative.

    The gradient of the recurrent kernel is one product over all tokens. The one that JAX derives adds up a product of
    each token, in an array of the kernel's size that is read and written at every step.
    """
    return _scanned(cell, reverse, given, jnp.zeros_like(given), real, recurrent, bias, carry)[0]


def _scanned(
    cell: str,
    reverse: bool,
    given: Array,
    added: Array,
    real: Array,
    recurrent: Array,
    bias: Array | None,
    carry: Carry,
) -> tuple[tuple[Array, Carry], list[Array]]:
    """Returns what `_run` does, and the vectors [T, B, W] that the recurrent kernel was multiplied with.

    Args:
      cell: its name.
      reverse: from the last token to the first.
      given: [T, B, C], the input's part of the gates.
      added: [T, B, C], what is added to each product: zeros, whose gradient is that of the products.
      real: [T, B].
      recurrent: [W, C].
      bias: [W], of the candidate.
      carry: before the first token.
    """

    columns = CELLS[cell].columns(len(recurrent))

    def step(carry: Carry, token: tuple[Array, Array, Array]) -> tuple[Carry, tuple[Array, list[Array]]]:
        of_input, more, is_real = token
        vectors: list[Array] = []

        def times(vector: Array) -> Array:
            these = columns[len(vectors)]
            vectors.append(vector)
            return vector @ recurrent[:, these] + more[:, these]

        after = CELLS[cell].advance(carry, of_input, times, bias)
        kept = tuple(jnp.where(is_real[:, None], new, old) for new, old in zip(after, carry, strict=True))
        return kept, (jnp.where(is_real[:, None], after[0], 0), vectors)

    carry, (hidden, vectors) = jax.lax.scan(step, carry, (given, added, real), reverse=reverse)
    return (hidden, carry), vectors


def _forward(
    cell: str, reverse: bool, given: Array, real: Array, recurrent: Array, bias: Array | None, carry: Carry
) -> tuple[Any, Any]:
    def run(given: Array, added: Array, bias: Array | None, carry: Carry) -> Any:
        return _scanned(cell, reverse, given, added, real, recurrent, bias, carry)

    out, backward, vectors = jax.vjp(run, given, jnp.zeros_like(given), bias, carry, has_aux=True)
    return out, (backward, vectors)


def _backward(cell: str, reverse: bool, kept: Any, of_out: Any) -> tuple[Any, ...]:
    backward, vectors = kept
    of_given, of_products, of_bias, of_carry = backward(of_out)
    columns = CELLS[cell].columns(vectors[0].shape[-1])
    of_kernel = [
        jnp.einsum("tbw,tbc->wc", vector, of_products[..., these])
        for vector, these in zip(vectors, columns, strict=True)
    ]
    return of_given, None, jnp.concatenate(of_kernel, axis=1), of_bias, of_carry


_run.defvjp(_forward, _backward)
