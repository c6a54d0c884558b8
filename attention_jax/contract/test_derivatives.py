"""Derivatives of both orders, forward and backward, are those of finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from attention_jax.contract.cases import SPECS, Inputs, doubled, make, one_way, reference_engine, run, widely
from attention_jax.contract.differences import equal_finite_differences
from attention_jax.kernels import Sizes, init

WIDTHS = Sizes(2, 1, 2, 2, 1, length=3)


@pytest.mark.parametrize(("spec", "order"), [(spec, 1) for spec in SPECS] + widely((spec, 2) for spec in SPECS))
def test_derivatives_of_both_orders_and_modes_equal_finite_differences(spec, order):
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

        equal_finite_differences(loss, start, direction, order=order)
