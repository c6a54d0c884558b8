"""The product of activations with a kernel, its gradient in the form that XLA computes fastest on a CPU."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.engines import platform
from attention_jax.layers.spread import SEQUENCE


def product(inputs: Float[Array, "..."], kernel: Float[Array, "..."], dimensions: Any, **options: Any) -> Array:
    """Returns what `lax.dot_general` returns, as the `dot_general` of Flax's dense layers.

    On a CPU, from float32 on, the rows of the inputs become one axis, and the kernel's gradient comes out of a product
    of two matrices with its shorter axis first. The form that JAX derives copies an operand into another order, and its
    sum over rows runs in a slower matrix kernel of XLA: both gradients take up to twice as long (docs/decisions.md).

    Args:
      inputs: [..., D], the axes that are summed over last.
      kernel: [D, F], the axes that are summed over first; D and F may be several axes.
      dimensions: as of `lax.dot_general`.
      **options: its other arguments.
    """
    (summed, of_kernel), batched = dimensions
    count = len(summed)
    rows = inputs.shape[: inputs.ndim - count]
    dense = tuple(summed) == tuple(range(len(rows), inputs.ndim)) and tuple(of_kernel) == tuple(range(count))
    plain = dense and not any(batched) and all(option is None for option in options.values())
    wide = jnp.result_type(inputs, kernel) in (jnp.float32, jnp.float64)
    if not plain or not wide or _tokens_are_spread() or platform.name() != "cpu":
        return jax.lax.dot_general(inputs, kernel, dimensions, **options)
    matrix = kernel.reshape(math.prod(kernel.shape[:count]), math.prod(kernel.shape[count:]))
    out = _of_matrices(inputs.reshape(math.prod(rows), len(matrix)), matrix)
    return out.reshape(*rows, *kernel.shape[count:])


@jax.custom_jvp
def _of_matrices(inputs: Float[Array, "R D"], kernel: Float[Array, "D F"]) -> Float[Array, "R F"]:
    return inputs @ kernel


@_of_matrices.defjvp
def _of_matrices_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (inputs, kernel), (of_inputs, of_kernel) = primals, tangents
    if kernel.shape[0] > kernel.shape[1]:
        # Its transpose is the gradient [F, D], transposed behind the barrier, which keeps XLA from swapping the two.
        from_kernel = jax.lax.dot_general(inputs, jax.lax.optimization_barrier(of_kernel.T), (((1,), (1,)), ((), ())))
    else:
        from_kernel = inputs @ of_kernel
    return inputs @ kernel, of_inputs @ kernel + from_kernel


def _tokens_are_spread() -> bool:
    """Rows whose tokens lie on several devices do not become one axis without being gathered."""
    mesh = jax.sharding.get_abstract_mesh()
    return SEQUENCE in mesh.shape and mesh.shape[SEQUENCE] > 1
