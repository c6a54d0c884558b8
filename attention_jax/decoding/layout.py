"""Weights laid out for a decoding loop: before it and not at each token, as products of a few rows read them fastest.

One token reads every weight once, so that is what it costs. On a CPU (docs/decisions.md has the figures):

- The kernel of heads [D, N, H] becomes the matrix [D, N H]. Reshaped inside the loop, XLA takes its product with one
  row for element-wise work, and computes all that led to the row again for each element of the kernel.
- The table of tokens [V, D] gets a copy [D, V] for the logits: with one row its product, too, is taken apart, and with
  two and more it is twice as slow as that of the copy.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from attention_jax.decoding.protocol import Advance, State
from attention_jax.kernels.engines import platform
from attention_jax.layers.embeddings import LAID_OUT, TABLE
from attention_jax.layers.paths import path_of


@dataclass(frozen=True)
class ModelAdvance:
    """The method `advance` of a model; those of equal models are equal, so that nothing is compiled again.

    Attributes:
      model: one with a method `advance`.
      shapes: of the leaves of the variables where they are laid out; None: they lie as the model has them.
    """

    model: nn.Module
    shapes: tuple[tuple[int, ...], ...] | None = None

    def __call__(
        self, variables: Any, state: State, tokens: Int[Array, "B T"], lengths: Int[Array, " B"]
    ) -> tuple[Float[Array, "B V"], State]:
        if self.shapes is not None:
            leaves, tree = jax.tree.flatten(variables)
            # XLA takes this back together with the reshape to a matrix that the product makes.
            whole = [leaf.reshape(shape) for leaf, shape in zip(leaves, self.shapes, strict=True)]
            variables = jax.tree.unflatten(tree, whole)
        found: tuple[Array, State] = self.model.apply(variables, state, tokens, lengths, method="advance")
        return found


def laid_out(advance: Advance) -> Advance:
    """Returns an advance that gives the same, its weights laid out for a loop; under jit, call it before the loop.

    Args:
      advance: as `Advance` says; one that is not of a model with its variables comes back as it is.
    """
    advance = with_tables(advance)
    opened = _opened(advance)
    if opened is None:
        return advance
    model, variables = opened
    shapes = tuple(leaf.shape for leaf in jax.tree.leaves(variables))
    return Partial(ModelAdvance(model, shapes), jax.tree_util.tree_map_with_path(_as_matrix, variables))


def with_tables(advance: Advance) -> Advance:
    """Returns an advance that gives the same, with the copies of its tables of tokens.

    It copies, where the rest of `laid_out` renames axes: who runs several loops calls it once.
    """
    opened = _opened(advance)
    if opened is None or LAID_OUT in opened[1]:
        return advance
    model, variables = opened
    return Partial(ModelAdvance(model), {**variables, LAID_OUT: _tables(variables.get("params", {}))})


def _opened(advance: Advance) -> tuple[nn.Module, Any] | None:
    """Returns the model and its variables where they lie as the model has them, on a CPU."""
    if not isinstance(advance, Partial) or not isinstance(advance.func, ModelAdvance) or platform.name() != "cpu":
        return None
    return None if advance.func.shapes is not None else (advance.func.model, advance.args[0])


def _as_matrix(keys: Any, leaf: Array) -> Array:
    """The kernel of a projection to heads or from them as a matrix [in, out], and whatever else as it is.

    A kernel "out" is from the heads, [N, H, D], by the names of `layers.attention`. Those of a scan over layers, [L, D,
    N, H], stay: it cuts them up in the loop.
    """
    path = path_of(keys)
    if leaf.ndim != 3 or not path.endswith("/kernel"):
        return leaf
    inputs = math.prod(leaf.shape[:2]) if path.endswith("/out/kernel") else leaf.shape[0]
    return leaf.reshape(inputs, -1)


def _tables(params: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of tokens in a tree of parameters, each [V, D] as [D, V], in the same places."""
    found = {name: _tables(inner) for name, inner in params.items() if isinstance(inner, Mapping)}
    if "token" in params and TABLE in params["token"]:
        found["token"] = {TABLE: jnp.asarray(params["token"][TABLE]).T}
    return {name: inner for name, inner in found.items() if inner}
