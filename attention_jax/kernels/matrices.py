"""The two products of attention, by head, with derivatives that XLA's matrix kernels run.

As JAX derives it, the cotangent of the second operand sums two matrices over their rows, which XLA on a CPU does in
small loops, at half the speed. Here it is made of one of them transposed. What is multiplied behind the transpose, a
number of each query, keeps XLA from folding it into the product again; a number for all would not.
"""

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from attention_jax.kernels.mechanism import statistics_dtype


@jax.custom_jvp
def products(
    query: Float[Array, "B K r P"], key: Float[Array, "B K s P"], factor: Float[Array, "B K r"]
) -> Float[Array, "B K r s"]:
    """Returns the product of each query with each key, in the dtype of statistics.

    Args:
      query: the queries of each key head.
      key: its keys, perhaps multiplied by a number.
      factor: of each query, multiplies what the keys' tangent does to its products: that number, where the tangent is
        that of the keys before the multiplication.
    """
    return _product(query, key, 3)


def _derivative_of_products(
    primals: tuple[Array, ...], tangents: tuple[Array | SymbolicZero, ...]
) -> tuple[Array, Array]:
    (query, key, factor), (d_query, d_key, _) = primals, tangents
    # The plain product, which `jax.checkpoint` knows as one that it may keep.
    out, parts = _product(query, key, 3), []
    if not isinstance(d_query, SymbolicZero):
        parts.append(_product(d_query, key, 3))
    if not isinstance(d_key, SymbolicZero):
        transposed = _product(d_key, query, 3) * factor[:, :, None]
        parts.append(jax.lax.optimization_barrier(transposed).swapaxes(2, 3))
    return out, _sum_of(parts, like=out)


products.defjvp(_derivative_of_products, symbolic_zeros=True)


@jax.custom_jvp
def weighted_mean(
    weights: Float[Array, "B K r s"], value: Float[Array, "B K s Hv"], total: Float[Array, "B K r 1"]
) -> Float[Array, "B K r Hv"]:
    """Returns the sums of the values by these weights, divided by the totals, in their dtype."""
    return _mean(weights, value, total)


def _mean(weights: Float[Array, "B K r s"], value: Float[Array, "B K s Hv"], total: Float[Array, "B K r 1"]) -> Array:
    return _product(weights, value, 2).astype(total.dtype) / total


def _derivative_of_mean(primals: tuple[Array, ...], tangents: tuple[Array | SymbolicZero, ...]) -> tuple[Array, Array]:
    (weights, value, total), (d_weights, d_value, d_total) = primals, tangents
    out, parts = _mean(weights, value, total), []
    if not isinstance(d_weights, SymbolicZero):
        parts.append(_product(d_weights, value, 2) / total)
    if not isinstance(d_value, SymbolicZero):
        transposed = _product(d_value.swapaxes(2, 3), weights, 3) / total.swapaxes(2, 3)
        parts.append(transposed.swapaxes(2, 3))
    if not isinstance(d_total, SymbolicZero):
        parts.append(-out * (d_total / total))
    return out, _sum_of(parts, like=out)


weighted_mean.defjvp(_derivative_of_mean, symbolic_zeros=True)


def _product(left: Float[Array, "B K m x"], right: Array, axis: int) -> Array:
    """The last axis of one with this axis of the other."""
    dims = ((3,), (axis,)), ((0, 1), (0, 1))
    return jax.lax.dot_general(left, right, dims, preferred_element_type=statistics_dtype(left.dtype))


def _sum_of(parts: list[Array], *, like: Array) -> Array:
    return sum(parts[1:], start=parts[0]) if parts else jnp.zeros_like(like)
