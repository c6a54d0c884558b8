"""The arrays that a mechanism has of its own, and those that it takes of each token, declared by letters.

A letter says what an axis is for: who splits heads over devices, cuts a sequence short or checks a shape reads it, and
guesses nothing from numbers that may be equal by chance.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

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


# What each letter of `axes` stands for.
LETTERS = {"N": "heads", "K": "kv_heads", "H": "query", "J": "key", "Hv": "value", "length": "length"}

# An axis: a letter, a number, or a number that depends on the sizes.
Axes = tuple[str | int | Callable[[Sizes], int], ...]


def shape_of(axes: Axes, sizes: Sizes, *, owner: str) -> tuple[int, ...]:
    """Returns the lengths of these axes.

    Raises:
      Refused: one is of the sequence, whose length the sizes do not say.
    """

    def length(axis: str | int | Callable[[Sizes], int]) -> int:
        if isinstance(axis, int):
            return axis
        found = getattr(sizes, LETTERS[axis]) if isinstance(axis, str) else axis(sizes)
        if found is None:
            raise Refused(
                f"{owner} has a number for each place of a sequence: say how long it can be, Sizes(length=...)."
            )
        return int(found)

    return tuple(map(length, axes))


@dataclass(frozen=True)
class Declared:
    """An array of a mechanism's own. Arrays that must be drawn together are one array.

    Attributes:
      axes: what each axis is for: a letter of `LETTERS`, a number, or a function of the sizes.
      init: (key, shape, sizes) -> the array, float32.
      trained: whether it is learned; otherwise it is drawn once and stays.
    """

    axes: Axes
    init: Callable[[PRNGKeyArray, tuple[int, ...], Sizes], Array]
    trained: bool = True


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
        return (batch, tokens, *shape_of(self.axes, sizes, owner="an input of each token"))

    def __str__(self) -> str:
        return f"[{', '.join(['B', 'T' if self.of == 'query' else 'S', *map(str, self.axes)])}]"


# One number for each key head, and one for each channel of each key head.
PER_HEAD, PER_CHANNEL = PerToken(("K",)), PerToken(("K", "J"))


def made(arrays: dict[str, Declared], rng: PRNGKeyArray, sizes: Sizes) -> tuple[Params, Params]:
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


def constant(value: float, *axes: str | int | Callable[[Sizes], int]) -> Declared:
    """Declares a trained array that starts with one value everywhere."""
    return Declared(axes, lambda rng, shape, sizes: jnp.full(shape, value, jnp.float32))


def normal(*axes: str | int | Callable[[Sizes], int], fan_in: tuple[int, ...] = (-2,)) -> Declared:
    """Declares a trained array that starts from N(0, 1 / the product of the axes `fan_in`)."""

    def init(rng: PRNGKeyArray, shape: tuple[int, ...], sizes: Sizes) -> Array:
        return fan_in_normal(rng, shape, fan_in=math.prod(shape[axis] for axis in fan_in))

    return Declared(axes, init)


def fan_in_normal(rng: PRNGKeyArray, shape: tuple[int, ...], fan_in: int) -> Float[Array, "..."]:
    """Returns float32 draws from N(0, 1 / fan_in)."""
    return jax.random.normal(rng, shape, jnp.float32) / jnp.sqrt(fan_in)
