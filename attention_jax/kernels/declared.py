"""Temporary: to be replaced by the class of mechanism.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
from jaxtyping import Array, PRNGKeyArray


@dataclass(frozen=True)
class Declared:
    axes: tuple[str | int, ...]
    init: Callable[[PRNGKeyArray, tuple[int, ...]], Array]
    trained: bool = True

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(sizes[axis] if isinstance(axis, str) else axis for axis in self.axes)


def make_arrays(arrays: Mapping[str, Declared], rng: PRNGKeyArray, sizes: Mapping[str, int]) -> dict[str, Array]:
    keys = jax.random.split(rng, max(1, len(arrays)))
    return {name: one.init(key, one.shape(sizes)) for (name, one), key in zip(arrays.items(), keys, strict=False)}
