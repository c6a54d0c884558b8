"""The shape annotations are checked in these tests, so that a signature cannot lie."""

import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

from attention_jax.kernels.mechanism import dot


def test_a_wrong_shape_inside_the_kernels_is_caught():
    with pytest.raises(TypeCheckError, match="query"):
        dot(jnp.ones((2, 4, 8)), jnp.ones((1, 4, 2, 8)), {})


def test_sizes_of_one_name_must_agree():
    with pytest.raises(TypeCheckError, match="key"):
        dot(jnp.ones((1, 4, 2, 8)), jnp.ones((1, 4, 2, 6)), {})
