"""Derivatives of both orders and modes against finite differences of a function of one array."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.contract.cases import quick_jit

STEP = 1e-5


def equal_finite_differences(
    loss: Callable[[jax.Array], jax.Array],
    start: jax.Array,
    direction: jax.Array,
    *,
    smallest: float = 0.0,
    twice: bool = False,
) -> None:
    """Asserts what `jax.test_util.check_grads(order=2)` does, compiled once in place of seven times.

    Args:
      loss: a function of a float64 array [size] to a number.
      start: where it is differentiated.
      direction: along which.
      smallest: the first derivative that is told from 0.
      twice: reverse over reverse too, which takes as long to compile as all the others.
    """

    @quick_jit
    def derivatives(flat: jax.Array) -> tuple[jax.Array, ...]:
        value_and_gradient = jax.value_and_grad(loss)
        (value, gradient), (forward, over_reverse) = jax.jvp(value_and_gradient, (flat,), (direction,))
        others = [jax.grad(lambda flat: value_and_gradient(flat)[1] @ direction)(flat)] if twice else []
        return value, gradient, forward, jnp.stack([over_reverse, *others])

    ahead, behind = (derivatives(start + step * direction) for step in (STEP, -STEP))
    _, gradient, forward, over_reverse = derivatives(start)
    first, second = ((after - before) / (2 * STEP) for after, before in zip(ahead[:2], behind[:2], strict=True))
    np.testing.assert_allclose([forward, gradient @ direction], [first, first], rtol=1e-6, atol=smallest)
    np.testing.assert_allclose(over_reverse, np.broadcast_to(second, over_reverse.shape), rtol=1e-6, atol=1e-7)
