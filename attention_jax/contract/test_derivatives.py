"""Derivatives of both orders, forward and backward, are those of finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from attention_jax.contract.cases import SPECS, Inputs, doubled, make, one_way, quick_jit, reference_engine, run
from attention_jax.kernels import Sizes, init

WIDTHS = Sizes(2, 1, 2, 2, 1, length=3)


@pytest.mark.parametrize("spec", SPECS)
def test_derivatives_of_both_orders_and_modes_equal_finite_differences(spec):
    """What `jax.test_util.check_grads(order=2)` checks, compiled once in place of seven times."""
    with jax.enable_x64(True):
        inputs = doubled(make(spec, batch=1, queries=3, heads=2, width=2, value_width=1))
        drawn = {name: inputs.params[name] for name in init(spec, jax.random.key(0), WIDTHS)[1]}
        trained = {name: array for name, array in inputs.params.items() if name not in drawn}
        start, unravel = ravel_pytree((*inputs[:3], trained, inputs.per_token))
        direction, weighing = (jnp.asarray(np.random.default_rng(seed).normal(size=start.shape)) for seed in (0, 1))

        def loss(flat):
            *three, arrays, per_token = unravel(flat)
            inputs = Inputs(*three, arrays | drawn, per_token)
            out = run(spec, inputs, mask=one_way(spec), engine=reference_engine(spec)).out
            return out.ravel() @ weighing[: out.size]

        @quick_jit
        def derivatives(flat):
            gradient = jax.grad(loss)
            forward, over_reverse = (jax.jvp(of, (flat,), (direction,))[1] for of in (loss, gradient))
            reverse_over_reverse = jax.grad(lambda flat: gradient(flat) @ direction)(flat)
            return loss(flat), gradient(flat), forward, over_reverse, reverse_over_reverse

        ahead, behind = (derivatives(start + step * direction) for step in (1e-5, -1e-5))
        _, gradient, forward, over_reverse, reverse_over_reverse = derivatives(start)
        first, second = ((after - before) / 2e-5 for after, before in zip(ahead[:2], behind[:2], strict=True))
        reverse = gradient @ direction
    np.testing.assert_allclose([forward, reverse], [first, first], rtol=1e-6)
    np.testing.assert_allclose([over_reverse, reverse_over_reverse], [second, second], rtol=1e-6, atol=1e-7)
