"""The products of a tile: each the sum it says, with one key head and with several."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels.engines import products


@pytest.mark.parametrize("kv_heads", [1, 2])
@pytest.mark.parametrize("group", [1, 3])
def test_each_product_is_the_sum_that_it_says(kv_heads, group):
    rng = np.random.default_rng(0)
    rows, keys = rng.standard_normal((1, kv_heads * group, 5, 4)), rng.standard_normal((1, 7, kv_heads, 4))
    weights = rng.standard_normal((1, kv_heads * group, 5, 7))
    spread = np.repeat(keys, group, axis=2)
    of_keys = np.einsum("bnts,bnth->bsnh", weights, rows).reshape(1, 7, kv_heads, group, 4).sum(3)

    @jax.jit
    def all_of_them(rows, keys, weights):
        return (
            products.with_keys(rows, keys, jnp.float32),
            products.over_keys(weights, keys, jnp.float32),
            products.over_queries(weights, rows, jnp.float32, kv_heads=kv_heads),
            products.by_head(keys),
        )

    wanted = np.einsum("bnth,bsnh->bnts", rows, spread), np.einsum("bnts,bsnh->bnth", weights, spread), of_keys, keys
    got = all_of_them(*(jnp.asarray(array, jnp.float32) for array in (rows, keys, weights)))
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
