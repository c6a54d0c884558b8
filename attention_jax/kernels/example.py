"""Tokens to try a variant on, and all that it takes beside them."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from attention_jax.kernels.arrays import Sizes
from attention_jax.kernels.attend import init
from attention_jax.kernels.mask import Causal
from attention_jax.kernels.registry import lookup


class Example(NamedTuple):
    """Arguments of `attend`.

    Attributes:
      variant: its spec.
      query: [B, T, N, H].
      key: [B, T, N, H].
      value: [B, T, N, H].
      params: the variant's arrays.
      per_token: what it takes of each token beside query, key and value.
      grid: rows and columns that the tokens lie in, as near to a square as can be.
    """

    variant: str
    query: Float[Array, "B T N H"]
    key: Float[Array, "B T N H"]
    value: Float[Array, "B T N H"]
    params: dict[str, Array]
    per_token: dict[str, Array]
    grid: tuple[int, int]

    @property
    def arguments(self) -> dict[str, Any]:
        """What `attend` is given beside the tokens: causal, where the variant has a causal form."""
        mask = None if lookup(self.variant).claims.causal == "no" else Causal()
        given = {"params": self.params, "per_token": self.per_token, "grid": self.grid, "mask": mask}
        return {"variant": self.variant, **given}


def example(variant: str, *, batch: int, tokens: int, heads: int, width: int, seed: int | None = 0) -> Example:
    """Returns normal tokens of one width, as many key heads as query heads, and what a variant takes beside them.

    Args:
      variant: its spec.
      batch: B.
      tokens: T, queries and keys.
      heads: N.
      width: H.
      seed: of the numbers; None for zeros in all arrays, where their shapes are enough: drawing takes the time.

    Raises:
      Refused: the spec is wrong, or the variant has no arrays of these sizes.
    """
    rows = next(size for size in range(math.isqrt(tokens), 0, -1) if tokens % size == 0)
    grid = (rows, tokens // rows)
    sizes = Sizes(heads, heads, width, width, width, length=tokens, grid=grid)
    shapes = {
        name: one.shape(sizes, batch=batch, queries=tokens, keys=tokens)
        for name, one in lookup(variant).mechanism.per_token.items()
    }

    def both() -> dict[str, Array]:
        trained, drawn = init(variant, jax.random.key(seed or 0), sizes)
        return {**trained, **drawn}

    rng = np.random.default_rng(seed)

    def normal(shape: tuple[int, ...]) -> Array:
        return jnp.asarray(np.zeros(shape) if seed is None else rng.standard_normal(shape), jnp.float32)

    params = both() if seed is not None else jax.tree.map(lambda of: normal(of.shape), jax.eval_shape(both))
    per_token = {name: normal(shape) for name, shape in shapes.items()}
    query, key, value = (normal((batch, tokens, heads, width)) for _ in range(3))
    return Example(variant, query, key, value, params, per_token, grid)
