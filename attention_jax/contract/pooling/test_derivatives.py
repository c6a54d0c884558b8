"""Derivatives of both orders, forward and backward, are those of finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from attention_jax.contract.cases import doubled
from attention_jax.contract.differences import equal_finite_differences
from attention_jax.contract.pooling.cases import CASES, REAL, WEIGHING, make, run


@pytest.mark.parametrize(("spec", "with_query"), CASES)
def test_derivatives_of_both_orders_and_modes_equal_finite_differences(spec, with_query):
    with jax.enable_x64(True):
        start, unravel = ravel_pytree(doubled(make(spec, with_query)))
        direction = jnp.asarray(np.random.default_rng(2).normal(size=start.shape))
        direction /= jnp.linalg.norm(direction)

        def loss(flat):
            pooled = run(spec, unravel(flat), REAL)
            reported = sum(array.sum() for array in pooled.aux.values())
            return (pooled.out * WEIGHING[:, : pooled.out.shape[1]].astype(float)).sum() + reported

        equal_finite_differences(loss, start, direction, smallest=1e-9)
