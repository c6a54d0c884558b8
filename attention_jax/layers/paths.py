"""The paths of parameters: names from the root to the leaf, such as "block_0/attention/query/kernel"."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax

_BLOCK = re.compile(r"(?:(.*)/)?(?:block_(\d+)|blocks)/.*")


class Block(NamedTuple):
    """The block of a model that a parameter is of.

    Attributes:
      stack: the path of the stack that the block is in, "" where the model has one stack.
      layer: which block from the bottom; None for all of them in one array, one behind the other on its first axis.
    """

    stack: str
    layer: int | None


def path_of(keys: Iterable[Any]) -> str:
    """Returns the path of a leaf, such as "block_0/attention/query/kernel"."""
    return jax.tree_util.keystr(tuple(keys), simple=True, separator="/")


def block_of(path: str) -> Block | None:
    """Returns the block of a parameter by its path, from ".../block_<i>/..." or ".../blocks/..."; None outside."""
    found = _BLOCK.fullmatch(path)
    if found is None:
        return None
    stack, layer = found.groups()
    return Block(stack or "", None if layer is None else int(layer))
