"""The matrix products of one tile, laid out so that XLA on a CPU writes out no transpose.

One key head alone is a product of two matrices: with an axis of length 1 to batch over, XLA transposes the keys first;
without, its matrix kernels read them as they lie. A product that sums over queries has its small operand transposed:
the other order runs at a third of the speed. The query heads of a group are rows of one matrix, as they share its keys.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def with_keys(rows: Float[Array, "1 N t H"], keys: Float[Array, "1 s K H"], dtype: jnp.dtype) -> Array:
    """Returns the products of each row with each key, summed over H, [1, N, t, s]."""
    flat = jnp.einsum("...rh,...sh->...rs", _rows(rows, keys.shape[2]), _by_head(keys), preferred_element_type=dtype)
    return flat.reshape(*rows.shape[:3], -1)


def over_keys(weights: Float[Array, "1 N t s"], keys: Float[Array, "1 s K H"], dtype: jnp.dtype) -> Array:
    """Returns the sum of the keys, or of what lies at them, by these weights, [1, N, t, H]."""
    weights_by_head = _rows(weights, keys.shape[2])
    flat = jnp.einsum("...rs,...sh->...rh", weights_by_head, _by_head(keys), preferred_element_type=dtype)
    return flat.reshape(*weights.shape[:3], -1)


def over_queries(
    weights: Float[Array, "1 N t s"], rows: Float[Array, "1 N t H"], dtype: jnp.dtype, *, kv_heads: int
) -> Array:
    """Returns the sum of the rows by these weights, for each key, [1, s, K, H]."""
    operands = _rows(rows, kv_heads), _rows(weights, kv_heads)
    flat = jnp.einsum("...rh,...rs->...hs", *operands, preferred_element_type=dtype)
    # The barrier keeps XLA from turning the transpose into the other order.
    flat = jax.lax.optimization_barrier(flat)
    return flat.reshape(kv_heads, rows.shape[-1], weights.shape[-1]).transpose(2, 0, 1)[None]


def by_head(array: Float[Array, "1 t N H"]) -> Float[Array, "1 t N H"]:
    """Returns the array, copied so that each head lies together in memory."""
    return array if array.shape[2] == 1 else jax.lax.optimization_barrier(array.swapaxes(1, 2)).swapaxes(1, 2)


def _rows(array: Float[Array, "1 N t x"], kv_heads: int) -> Array:
    shape = (-1, array.shape[-1]) if kv_heads == 1 else (kv_heads, -1, array.shape[-1])
    return array.reshape(shape)


def _by_head(keys: Float[Array, "1 s K H"]) -> Array:
    return keys[0, :, 0] if keys.shape[2] == 1 else keys[0].swapaxes(0, 1)
