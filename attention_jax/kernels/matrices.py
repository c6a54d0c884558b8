"""Products of matrices of each head, with the derivatives that XLA's matrix kernels run.

Of two operands that are summed over their rows, as JAX derives the cotangent of the second one, XLA on a CPU makes a
loop of small products, at half the speed. Each derivative here transposes one operand first.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def each_with_each(rows: Float[Array, "B K r H"], others: Float[Array, "B K s H"], dtype: jnp.dtype) -> Array:
    """Returns the products of each row with each of the others, summed over H, [B, K, r, s], in this dtype."""
    return _product(rows, others, 3, dtype)


@each_with_each.defjvp
def _each_with_each_derivative(
    dtype: jnp.dtype, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (rows, others), (d_rows, d_others) = primals, tangents
    by_others = _transposed(_product(d_others, rows, 3, dtype))
    return each_with_each(rows, others, dtype), _product(d_rows, others, 3, dtype) + by_others


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def weighted(weights: Float[Array, "B K r s"], rows: Float[Array, "B K s H"], dtype: jnp.dtype) -> Array:
    """Returns the sums of the rows by these weights, [B, K, r, H], in this dtype."""
    return _product(weights, rows, 2, dtype)


@weighted.defjvp
def _weighted_derivative(
    dtype: jnp.dtype, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (weights, rows), (d_weights, d_rows) = primals, tangents
    by_rows = _transposed(_product(d_rows.swapaxes(2, 3), weights, 3, dtype))
    return weighted(weights, rows, dtype), _product(d_weights, rows, 2, dtype) + by_rows


def _product(left: Float[Array, "B K m x"], right: Array, axis: int, dtype: jnp.dtype) -> Array:
    """The last axis of one with this axis of the other."""
    over, of_each = ((3,), (axis,)), ((0, 1), (0, 1))
    return jax.lax.dot_general(left, right, (over, of_each), preferred_element_type=dtype)


def _transposed(array: Float[Array, "B K m n"]) -> Float[Array, "B K n m"]:
    # Backward, the barrier keeps XLA from folding the transpose into the product that it was made for.
    return jax.lax.optimization_barrier(array).swapaxes(2, 3)
