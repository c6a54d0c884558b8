"""Slices of a score: the parts of a split that differ in one thing, such as the distance of what is to be recalled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused

Batch = Mapping[str, Any]


@dataclass(frozen=True)
class Slicing:
    """One way to divide the items (examples or positions) of a batch that a measure counts.

    Attributes:
      reads: the arrays of a batch that `of` needs.
      count: (the model's output, batch) -> how many slices there are, from shapes alone, since a compiled evaluation
        has that many sums. Slices of which a split has no item are left out.
      of: batch -> which slice, from 0, int32: [B] of examples or [B, T] of positions. An item with another number is in
        none.
      label: number of a slice -> what it is called, such as "16-31".
      name: of what it slices by, such as "distance".
    """

    reads: tuple[str, ...]
    count: Callable[[Array, Batch], int]
    of: Callable[[Batch], Array]
    label: Callable[[int], str] = str
    name: str = ""


slicings: Catalogue[Callable[[], Slicing]] = Catalogue("slicing", "attention_jax.tasks.slices")


def build_slicings(names: tuple[str, ...]) -> tuple[Slicing, ...]:
    """Returns the slicings of these names.

    Raises:
      Refused: there is none of a name, or one is named twice.
    """
    for name in names:
        if names.count(name) > 1:
            raise Refused(f"task.slices names {name!r} twice: name it once.")
    return tuple(replace(slicings.build(name), name=name) for name in names)


def tokens_of(batch: Batch) -> Int[Array, "B T"]:
    """Returns the tokens of a batch, the first of each place where several share one."""
    tokens = batch["inputs"] if "inputs" in batch else batch["tokens"]
    return tokens if tokens.ndim == 2 else tokens[:, :, 0]


def octaves(largest: int) -> int:
    """Returns how many of the slices 0, 1, 2-3, 4-7, 8-15 ... the numbers up to `largest` need."""
    return largest.bit_length() + 1


def octave(numbers: Int[Array, "..."], *, count: int) -> Int[Array, "..."]:
    """Returns the place of whole numbers of at least 0 among the first `count` of 0, 1, 2-3, 4-7, 8-15 ..."""
    return jnp.searchsorted(2 ** jnp.arange(count), numbers, side="right").astype(jnp.int32)


def octave_label(place: int) -> str:
    """Returns "0", "1", "2-3", "4-7" ... for the places 0, 1, 2, 3 ..."""
    return str(place) if place < 2 else f"{2 ** (place - 1)}-{2**place - 1}"
