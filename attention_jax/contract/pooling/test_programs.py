"""Programs: strict modes, bfloat16, vmap, and the same bits twice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, quick_jit, same_bits
from attention_jax.contract.on_the_way import operations_that_give_nan
from attention_jax.contract.pooling.cases import (
    CASES,
    QUERY_WIDTH,
    REAL,
    WEIGHING,
    WIDTH,
    make,
    pooled_and_gradients,
    run,
)
from attention_jax.kernels import pooling_init

STRICT = {
    "rank promotion": lambda: jax.numpy_rank_promotion("raise"),
    "dtype promotion": lambda: jax.numpy_dtype_promotion("strict"),
}


def rounded(inputs, dtype):
    """The tokens and the query in another dtype; the arrays stay float32, as a model keeps them."""
    query = None if inputs.query is None else inputs.query.astype(dtype)
    return inputs._replace(hidden=inputs.hidden.astype(dtype), query=query)


@pytest.mark.parametrize("mode", STRICT)
@pytest.mark.parametrize(("spec", "with_query"), CASES)
def test_it_is_traced_forward_and_backward_in_a_strict_mode(spec, with_query, mode):
    for dtype in (jnp.float32, jnp.bfloat16):
        with STRICT[mode]():
            jax.eval_shape(
                jax.grad(lambda inputs: run(spec, inputs, REAL).out.astype(jnp.float32).sum()),
                rounded(make(spec, with_query), dtype),
            )


@pytest.mark.parametrize(("spec", "with_query"), CASES)
def test_in_bfloat16_only_the_result_is_rounded(spec, with_query):
    narrow = rounded(make(spec, with_query), jnp.bfloat16)
    found = quick_jit(lambda inputs: run(spec, inputs, REAL))(narrow)
    exact = pooled_and_gradients(spec, rounded(narrow, jnp.float32), REAL, WEIGHING)[0]
    assert found.out.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.out.astype(jnp.float32), exact.out, rtol=2**-8, atol=1e-6)
    for ours, theirs in zip(
        *map(jax.tree.leaves, ((found.weights, found.aux), (exact.weights, exact.aux))), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert {leaf.dtype for leaf in jax.tree.leaves((found.weights, found.aux))} <= {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize(("spec", "with_query"), CASES)
def test_vmap_gives_the_values_of_the_plain_calls_and_two_runs_the_same_bits(spec, with_query):
    each = [make(spec, with_query, seed=seed)._replace(params=make(spec, with_query).params) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    real = np.stack([REAL, REAL[::-1]])
    both = quick_jit(jax.vmap(lambda inputs, real: run(spec, inputs, real)))(stacked, real)
    for number, inputs in enumerate(each):
        plain, expected = pooled_and_gradients(spec, inputs, real[number], WEIGHING)
        assert error(both.out[number], plain.out) < AGREEMENT
        assert same_bits((plain, expected), pooled_and_gradients(spec, inputs, real[number], WEIGHING))


@pytest.mark.parametrize(("spec", "with_query"), CASES)
def test_no_operation_gives_nan_on_the_way_to_finite_results(spec, with_query):
    inputs = make(spec, with_query)
    assert not operations_that_give_nan(jax.grad(lambda inputs: run(spec, inputs, REAL).out.sum()), inputs)


@pytest.mark.parametrize(("spec", "with_query"), CASES)
def test_its_arrays_are_float32_under_x64_too_and_drawn_by_the_key_alone(spec, with_query):
    sizes = (WIDTH, QUERY_WIDTH if with_query else None)
    with jax.enable_x64(True):
        wide, again = (pooling_init(spec, jax.random.key(3), *sizes) for _ in range(2))
    assert {array.dtype for array in wide.values()} <= {jnp.dtype(jnp.float32)}
    assert same_bits(wide, again)
