"""Ring attention: each device keeps its queries, keys and values go round (Liu, Zaharia & Abbeel 2023, section 3).

At each of n steps a device meets the keys it holds in the blockwise engine, and hands them on. Partial results are
merged by their log-normalisers, in float32: a merge in bfloat16 costs six times the error. The backward pass sends the
keys round once more, their gradients with them; both come home after n steps. Under a causal mask a device computes
only the tiles that are visible; in zig-zag order (Llama 3 report 2024, section 3.3.2) every device has as many.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.engines import blockwise
from attention_jax.kernels.engines.tiles import Differentiable, NonDifferentiable, Plan
from attention_jax.kernels.mask_algebra import Axis
from attention_jax.kernels.mechanism import statistics_dtype


@dataclass(frozen=True)
class Ring:
    """The devices that share a sequence.

    Attributes:
      axis: the name of their mesh axis.
      size: how many they are, n.
    """

    axis: str
    size: int


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def attention(
    ring: Ring, plan: Plan, tensors: Differentiable, fixed: NonDifferentiable, keys: Axis
) -> tuple[Array, Array]:
    """Returns out [B, t, N, Hv] and the log-normaliser [B, N, t] of a device's queries over all keys.

    Args:
      ring: the devices.
      plan: how each part is computed.
      tensors: the device's own queries, keys and values.
      fixed: of the device; its `poisoned` counts all keys, its `key` is not used.
      keys: the index of each key that each device holds, [n, s], and all their positions in that order, [B or 1, n s].
    """
    return _forward(ring, plan, tensors, fixed, keys)


def _forward(
    ring: Ring, plan: Plan, tensors: Differentiable, fixed: NonDifferentiable, keys: Axis
) -> tuple[Array, Array]:
    part = replace(plan, partial=True)

    def step(number: Array, carry: Any) -> Any:
        out, lse, key, value = carry
        held = tensors._replace(key=key, value=value)
        merged = _merge(out, lse, *blockwise.forward(part, held, _met(ring, fixed, keys, number)))
        return *merged, *_pass_on(ring, (key, value))

    batch, queries, heads, _ = tensors.query.shape
    shape = (batch, queries, heads, tensors.value.shape[-1])
    dtype = statistics_dtype(tensors.query.dtype)
    start = (jnp.zeros(shape, dtype), jnp.full((batch, heads, queries), -jnp.inf, dtype), tensors.key, tensors.value)
    out, lse, _, _ = jax.lax.fori_loop(0, ring.size, step, start)
    return out.astype(tensors.query.dtype), lse


def _met(ring: Ring, fixed: NonDifferentiable, keys: Axis, step: Array) -> NonDifferentiable:
    holder = (jax.lax.axis_index(ring.axis) - step) % ring.size
    index = keys.index[holder]
    size = index.shape[0]
    position = jax.lax.dynamic_slice_in_dim(keys.position, holder * size, size, axis=1)
    return fixed._replace(key=Axis(index, position))


def _pass_on(ring: Ring, arrays: Any) -> Any:
    return jax.lax.ppermute(arrays, ring.axis, [(i, (i + 1) % ring.size) for i in range(ring.size)])


def _merge(
    out: Float[Array, "B T N Hv"], lse: Float[Array, "B N T"], part: Float[Array, "B T N Hv"], of_part: Array
) -> tuple[Array, Array]:
    # A step towards the part: shares computed apart would not add up to 1, by the rounding of both normalisers.
    share = jnp.where(of_part == -jnp.inf, 0, jax.nn.sigmoid(of_part - lse)).swapaxes(1, 2)[..., None]
    return out + (part - out) * share, jnp.logaddexp(lse, of_part)


def _kept(
    ring: Ring, plan: Plan, tensors: Differentiable, fixed: NonDifferentiable, keys: Axis
) -> tuple[tuple[Array, Array], Any]:
    out, lse = _forward(ring, plan, tensors, fixed, keys)
    return (out, lse), (tensors, fixed, keys, out, lse)


def _backward(ring: Ring, plan: Plan, kept: Any, cotangents: tuple[Array, Array]) -> tuple[Differentiable, None, None]:
    tensors, fixed, keys, out, lse = kept
    part = replace(plan, partial=True)

    def step(number: Array, carry: Any) -> Any:
        total, key, value = carry
        held = tensors._replace(key=key, value=value)
        met = _met(ring, fixed, keys, number)
        total = jax.tree.map(jnp.add, total, blockwise.backward(part, held, met, out, lse, *cotangents))
        d_key, d_value, key, value = _pass_on(ring, (total.key, total.value, key, value))
        return total._replace(key=d_key, value=d_value), key, value

    dtype = statistics_dtype(tensors.query.dtype)
    zeros = jax.tree.map(lambda array: jnp.zeros(array.shape, dtype), tensors)
    total = jax.lax.fori_loop(0, ring.size, step, (zeros, tensors.key, tensors.value))[0]
    gradients = jax.tree.map(lambda gradient, array: gradient.astype(array.dtype), total, tensors)
    return blockwise.once(gradients), None, None


attention.defvjp(_kept, _backward)
