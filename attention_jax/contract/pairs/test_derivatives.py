"""Derivatives of both orders, forward and backward, are those of finite differences; equal tokens have finite ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from attention_jax.contract.cases import doubled
from attention_jax.contract.differences import equal_finite_differences
from attention_jax.contract.pairs.cases import (
    FIRST,
    REAL,
    SECOND,
    SPECS,
    WEIGHING,
    make,
    paired_and_gradients,
    run,
    total,
)


@pytest.mark.parametrize("spec", SPECS)
def test_derivatives_of_both_orders_and_modes_equal_finite_differences(spec):
    with jax.enable_x64(True):
        start, unravel = ravel_pytree(doubled(make(spec)))
        direction = jnp.asarray(np.random.default_rng(2).normal(size=start.shape))
        direction /= jnp.linalg.norm(direction)

        def loss(flat):
            return total(run(spec, unravel(flat), *REAL), WEIGHING)

        equal_finite_differences(loss, start, direction, smallest=1e-9)


@pytest.mark.parametrize("spec", SPECS)
def test_equal_tokens_have_finite_derivatives(spec):
    inputs = make(spec)
    same = inputs._replace(first=inputs.first.at[:, :3].set(inputs.second[:, :3]))
    for equal in (same, inputs._replace(first=jnp.zeros((*FIRST.shape, 4)), second=jnp.zeros((*SECOND.shape, 4)))):
        _, gradients = paired_and_gradients(spec, equal, REAL, WEIGHING)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
