"""Derivatives of both orders and modes against finite differences of a function of one array."""

from collections.abc import Callable

import jax
import numpy as np

from attention_jax.contract.cases import quick_jit

STEP = 1e-5


def equal_finite_differences(
    loss: Callable[[jax.Array], jax.Array],
    start: jax.Array,
    direction: jax.Array,
    *,
    smallest: float = 0.0,
    order: int = 2,
) -> None:
    """Asserts what `jax.test_util.check_grads(order=2)` does, compiled once in place of seven times.

    Args:
      loss: a function of a float64 array [size] to a number.
      start: where it is differentiated.
      direction: along which.
      smallest: the first derivative that is told from 0.
      order: 2, or 1 for the first derivatives alone, which take a fraction of the time to compile.
    """

    @quick_jit
    def derivatives(flat: jax.Array) -> tuple[jax.Array, ...]:
        if order == 1:
            value, forward = jax.jvp(loss, (flat,), (direction,))
            return value, jax.grad(loss)(flat), forward
        (value, gradient), (forward, over_reverse) = jax.jvp(jax.value_and_grad(loss), (flat,), (direction,))
        return value, gradient, forward, over_reverse, jax.grad(lambda flat: jax.grad(loss)(flat) @ direction)(flat)

    ahead, behind = (derivatives(start + step * direction) for step in (STEP, -STEP))
    _, gradient, forward, *seconds = derivatives(start)
    first, second = ((after - before) / (2 * STEP) for after, before in zip(ahead[:2], behind[:2], strict=True))
    np.testing.assert_allclose([forward, gradient @ direction], [first, first], rtol=1e-6, atol=smallest)
    for found in seconds:
        np.testing.assert_allclose(found, second, rtol=1e-6, atol=1e-7)
