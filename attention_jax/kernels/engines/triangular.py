"""Unit triangular systems of the delta rule, without LAPACK.

jaxlib's LAPACK calls split a batch over the thread pool whose threads run the CPU devices, and wait for it: a program
on as many devices as cores then waits for itself, for ever (jax 0.10.1 and 0.10.2). Here blocks of 16 rows are inverted
by substitution, in one fused loop over all of them, and joined by products. Doubling, (I - L)(I + L^2)(I + L^4) ...
over all rows, would need fewer steps and is wrong: with equal keys its terms grow binomially, to errors of 4e9 for 64
rows in float32, where substitution is right to the last digits.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Rows of a block: of 8, 16 and 32 the fastest forward and backward at 64 rows, on a CPU.
BLOCK = 16


def solve_unit_lower(matrix: Float[Array, "*b C C"], right: Float[Array, "*b C V"]) -> Float[Array, "*b C V"]:
    """Returns x of (I + L) x = right, L being what stands below the diagonal of the matrix.

    Differentiable to any order; the derivative solves with the same inverted blocks.

    Args:
      matrix: what is on its diagonal and above is not read; C is at most 16, or a multiple of 16.
      right: the right-hand sides.
    """
    below = jnp.tril(matrix, -1)
    blocks = _inverted_blocks(jax.lax.stop_gradient(below))
    return jax.lax.custom_linear_solve(
        lambda x: x + below @ x,
        right,
        lambda _, rest: _forwards(below, blocks, rest),
        lambda _, rest: _backwards(below, blocks, rest),
    )


def _inverted_blocks(below: Float[Array, "*b C C"]) -> Float[Array, "*b n s s"]:
    """The inverses of I + L of the blocks on the diagonal: row j, once it is done, is taken out of those beneath it."""
    length = below.shape[-1]
    size = min(BLOCK, length)
    starts = range(0, length, size)
    diagonal = jnp.stack([below[..., i : i + size, i : i + size] for i in starts], axis=-3)
    inverse = jnp.broadcast_to(jnp.eye(size, dtype=below.dtype), diagonal.shape)
    for row in range(size - 1):
        inverse = inverse - diagonal[..., :, row, None] * inverse[..., row, None, :]
    return inverse


def _forwards(
    below: Float[Array, "*b C C"], blocks: Float[Array, "*b n s s"], right: Float[Array, "*b C V"]
) -> Float[Array, "*b C V"]:
    count, size = blocks.shape[-3], blocks.shape[-1]
    solved: list[Array] = []
    for number in range(count):
        rows = slice(number * size, (number + 1) * size)
        rest = right[..., rows, :]
        if solved:
            rest = rest - below[..., rows, : rows.start] @ jnp.concatenate(solved, axis=-2)
        solved.append(blocks[..., number, :, :] @ rest)
    return jnp.concatenate(solved, axis=-2)


def _backwards(
    below: Float[Array, "*b C C"], blocks: Float[Array, "*b n s s"], right: Float[Array, "*b C V"]
) -> Float[Array, "*b C V"]:
    """What `_forwards` is for the transpose of I + L, from the last row up."""
    count, size = blocks.shape[-3], blocks.shape[-1]
    solved: list[Array] = []
    for number in reversed(range(count)):
        columns = slice(number * size, (number + 1) * size)
        rest = right[..., columns, :]
        if solved:
            beneath = below[..., columns.stop :, columns].swapaxes(-1, -2)
            rest = rest - beneath @ jnp.concatenate(solved[::-1], axis=-2)
        solved.append(blocks[..., number, :, :].swapaxes(-1, -2) @ rest)
    return jnp.concatenate(solved[::-1], axis=-2)
