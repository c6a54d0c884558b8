"""The random projection of FAVOR+: orthogonal within a block, and without a preferred direction."""

import jax
import numpy as np
import pytest

from attention_jax.kernels import Sizes
from attention_jax.kernels.variants.linear.performer import orthogonal_projection

SIZES = Sizes(heads=1, kv_heads=1, query=4, key=4, value=4)


@pytest.mark.parametrize("features", [3, 10])
def test_rows_of_a_block_are_orthogonal(features):
    rows = np.asarray(orthogonal_projection(jax.random.key(0), (features, 4), SIZES))
    assert rows.shape == (features, 4)
    for start in range(0, features, 4):
        block = rows[start : start + 4]
        products = block @ block.T
        np.testing.assert_allclose(products - np.diag(np.diag(products)), 0, atol=1e-5)


def test_each_coordinate_has_the_moments_of_a_gaussian():
    rows = np.asarray(orthogonal_projection(jax.random.key(1), (40_000, 4), SIZES))
    error = 4 / np.sqrt(len(rows))
    np.testing.assert_allclose(rows.mean(0), 0, atol=error, err_msg="a mean is a bias of the estimate")
    np.testing.assert_allclose(np.cov(rows.T), np.eye(4), atol=2 * error)
    np.testing.assert_allclose((rows**3).mean(0), 0, atol=4 * error)
