"""Whole numbers that a user gives (positions, ids, lengths), in one dtype, and sums of them that do not wrap."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from attention_jax.base.errors import Refused


def whole_numbers(values: Any, *, owner: str) -> Int[Array, "..."]:
    """Returns whole numbers as int32, or as int64 where they are given so and jax_enable_x64 is on.

    Args:
      values: an array of whole numbers, or a list of them, nested or not.
      owner: whose they are, in the plural, for a message.

    Raises:
      Refused: they are no whole numbers, or leave the dtype.
    """
    array = _as_array(values, owner)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise Refused(f"{owner} are {array.dtype}: give whole numbers, int32.")
    widest = jnp.iinfo(jax.dtypes.canonicalize_dtype(jnp.int64))
    if isinstance(array, np.ndarray):
        for number in (array.min(), array.max()) if array.size else ():
            if not widest.min <= number <= widest.max:
                raise Refused(f"{owner} reach {number}, outside of {widest.dtype}: give smaller numbers.")
    elif jnp.issubdtype(array.dtype, jnp.unsignedinteger) and jnp.iinfo(array.dtype).max > jnp.iinfo(jnp.int32).max:
        raise Refused(f"{owner} are {array.dtype}, which may leave int32: give int32.")
    return jnp.asarray(array).astype(jnp.int32 if _fits_int32(array.dtype) else widest.dtype)


def identities(values: Any, *, owner: str) -> Int[Array, "..."]:
    """Returns numbers that are only compared with each other, such as ids of segments, as `whole_numbers` does.

    Flags are numbers too, 0 and 1, and unsigned arrays become signed ones of their width, which keeps ids apart.

    Raises:
      Refused: they are neither, or leave the dtype.
    """
    array = _as_array(values, owner)
    if array.dtype == jnp.bool_:
        return jnp.asarray(array).astype(jnp.int32)
    if isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jnp.unsignedinteger):
        return array.astype(jnp.int32 if array.dtype.itemsize <= 4 else jnp.int64)
    return whole_numbers(array, owner=owner)


def moved(position: Int[Array, "*p"], by: int) -> Int[Array, "*p"]:
    """Returns position + by, held at the ends of the dtype where the sum would leave it; `by` may be any number."""
    limits = jnp.iinfo(position.dtype)
    across = limits.max - limits.min
    left = max(-across, min(by, across))
    while left:
        step = max(-limits.max, min(left, limits.max))
        if step > 0:
            position = jnp.where(position > limits.max - step, limits.max, position + step)
        else:
            position = jnp.where(position < limits.min - step, limits.min, position + step)
        left -= step
    return position


def _as_array(values: Any, owner: str) -> Any:
    if isinstance(values, (jax.Array, np.ndarray)):
        return values
    if any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(values)):
        return jnp.asarray(values)
    try:
        return np.asarray(values)
    except ValueError as error:
        raise Refused(f"{owner} are of no one shape: give rows of one length.") from error


def _fits_int32(dtype: Any) -> bool:
    given, limits = jnp.iinfo(dtype), jnp.iinfo(jnp.int32)
    return limits.min <= given.min and given.max <= limits.max
