"""The arrays that a mechanism has of its own, and those that it takes of each token, declared by letters.

A letter says what an axis is for: who splits heads over devices, cuts a sequence short or checks a shape reads it, and
guesses nothing from numbers that may be equal by chance.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from attention_jax.base.errors import Refused

Params = dict[str, Array]


@dataclass(frozen=True)
class Sizes:
    """The sizes that a mechanism's own arrays depend on.

    Attributes:
      heads: N, query heads.
      kv_heads: K, key and value heads; N is a multiple of it.
      query: H, the width of one query head.
      key: J, the width of one key head.
      value: Hv, the width of one value head.
      length: the longest sequence, for a mechanism that learns one number for each place of it.
      grid: the rows and columns that the tokens lie in, for a mechanism that goes by them.
      layer: the number of the layer, from 1, for a mechanism that starts differently in each.
    """

    heads: int
    kv_heads: int
    query: int
    key: int
    value: int
    length: int | None = None
    grid: tuple[int, int] | None = None
    layer: int = 1


@dataclass(frozen=True)
class SequenceSizes:
    """The sizes that the arrays of a pooling or of a pair depend on.

    Attributes:
      width: D, the width of a token.
      query_width: Q, the width of what a sequence is asked.
      length: the longest sequence, for a mechanism that learns one number for each place of it.
    """

    width: int
    query_width: int | None = None
    length: int | None = None


# What each letter of `axes` stands for.
LETTERS = {"N": "heads", "K": "kv_heads", "H": "query", "J": "key", "Hv": "value", "length": "length"}
LETTERS |= {"D": "width", "Q": "query_width"}

# An axis: a letter, a number, or a number that depends on the sizes.
Axes = tuple[str | int | Callable[[Sizes], int], ...]


def shape_of(axes: Axes, sizes: Sizes | SequenceSizes, *, owner: str) -> tuple[int, ...]:
    """Returns the lengths of these axes.

    Raises:
      Refused: one is of the sequence, whose length the sizes do not say.
    """

    def length(axis: str | int | Callable[[Any], int]) -> int:
        if isinstance(axis, int):
            return axis
        found = getattr(sizes, LETTERS[axis]) if isinstance(axis, str) else axis(sizes)
        if found is None:
            raise Refused(f"{owner} has a number for each place of a sequence: say how long it can be, length=...")
        return int(found)

    return tuple(map(length, axes))


def in_words(axes: Axes) -> str:
    """Returns axes as they are told, such as "[N, 8, half_width]"."""
    return f"[{', '.join(axis.__name__ if callable(axis) else str(axis) for axis in axes)}]"


@dataclass(frozen=True)
class Declared:
    """An array of a mechanism's own. Arrays that must be drawn together are one array.

    Attributes:
      axes: what each axis is for: a letter of `LETTERS`, a number, or a function of the sizes.
      init: (key, shape, sizes) -> the array, float32.
      trained: whether it is learned; otherwise it is drawn once and stays.
      by_layer: whether it starts differently in each layer.
    """

    axes: Axes
    init: Callable[[PRNGKeyArray, tuple[int, ...], Any], Array]
    trained: bool = True
    by_layer: bool = False


@dataclass(frozen=True)
class PerToken:
    """An array that a mechanism takes of each token beside query, key and value. Any real number may stand in it.

    Attributes:
      axes: what follows [B, tokens]: an axis of heads, "N" or "K", comes first.
      of: whose tokens they are.
    """

    axes: Axes = ("K",)
    of: Literal["query", "key"] = "key"

    @property
    def by_head(self) -> bool:
        """Whether there is an axis of heads."""
        return self.axes[:1] in (("N",), ("K",))

    def shape(self, sizes: Sizes, *, batch: int, queries: int, keys: int) -> tuple[int, ...]:
        """Returns [B, T, ...] or [B, S, ...]."""
        tokens = queries if self.of == "query" else keys
        return (batch, tokens, *shape_of(self.axes, sizes, owner="a per_token array"))

    def __str__(self) -> str:
        return in_words(("B", "T" if self.of == "query" else "S", *self.axes))


# One number for each key head, and one for each channel of each key head.
PER_HEAD, PER_CHANNEL = PerToken(("K",)), PerToken(("K", "J"))


def made(arrays: dict[str, Declared], rng: PRNGKeyArray, sizes: Sizes | SequenceSizes) -> tuple[Params, Params]:
    """Makes the arrays that are declared, each from a key of its own.

    Returns:
      The trained ones and the others.

    Raises:
      Refused: one cannot be made at these sizes.
    """
    keys = dict(zip(arrays, jax.random.split(rng, max(1, len(arrays))), strict=False))
    every = {
        name: one.init(keys[name], shape_of(one.axes, sizes, owner=f"{name!r}"), sizes) for name, one in arrays.items()
    }
    trained = {name: array for name, array in every.items() if arrays[name].trained}
    return trained, {name: array for name, array in every.items() if name not in trained}


def fitting(
    owner: str, declared: dict[str, Declared], params: Params | None, sizes: Sizes | SequenceSizes, *, maker: str
) -> Params:
    """Returns the arrays of a mechanism, cut to the length of this sequence where they have a number for each place.

    Args:
      owner: the spec of the mechanism, for the messages.
      declared: its arrays.
      params: what is given.
      sizes: what they must fit.
      maker: the call that makes them, for the messages.

    Raises:
      Refused: one is missing, is too many, is too short, or has another shape.
    """
    params = params or {}
    if declared.keys() != params.keys():
        raise Refused(f"{owner} takes params {sorted(declared)}, not {sorted(params)}: make them with {maker}.")
    return {name: _cut(owner, name, declared[name], array, sizes) for name, array in params.items()}


def _cut(owner: str, name: str, declared: Declared, array: Array, sizes: Sizes | SequenceSizes) -> Array:
    wanted = shape_of(declared.axes, sizes, owner=name)
    bound = [axis for axis, letter in enumerate(declared.axes) if letter == "length"]
    if array.ndim == len(wanted):
        for axis in bound:
            if array.shape[axis] < wanted[axis]:
                raise Refused(
                    f"{owner} was made for sequences of up to {array.shape[axis]} tokens ({name!r} has a number for "
                    f"each), not {wanted[axis]}: make it with length={wanted[axis]}."
                )
            array = jax.lax.slice_in_dim(array, 0, wanted[axis], axis=axis)
    if array.shape != wanted:
        raise Refused(f"{owner} takes {name!r} of shape {wanted} here, not {array.shape}.")
    return array


def constant(value: float, *axes: str | int | Callable[[Sizes], int]) -> Declared:
    """Declares a trained array that starts with one value everywhere."""
    return Declared(axes, lambda rng, shape, sizes: jnp.full(shape, value, jnp.float32))


def normal(
    *axes: str | int | Callable[[Sizes], int], fan_in: tuple[int, ...] = (-2,), trained: bool = True
) -> Declared:
    """Declares an array that starts from N(0, 1 / the product of the axes `fan_in`)."""

    def init(rng: PRNGKeyArray, shape: tuple[int, ...], sizes: Sizes) -> Array:
        return fan_in_normal(rng, shape, fan_in=math.prod(shape[axis] for axis in fan_in))

    return Declared(axes, init, trained)


def fan_in_normal(rng: PRNGKeyArray, shape: tuple[int, ...], fan_in: int) -> Float[Array, "..."]:
    """Returns float32 draws from N(0, 1 / fan_in)."""
    return jax.random.normal(rng, shape, jnp.float32) / jnp.sqrt(fan_in)
