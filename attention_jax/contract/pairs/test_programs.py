"""Programs: strict modes, bfloat16, vmap, and the same bits twice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, quick_jit, same_bits
from attention_jax.contract.on_the_way import operations_that_give_nan
from attention_jax.contract.pairs.cases import REAL, SPECS, WEIGHING, WIDTH, make, paired_and_gradients, run
from attention_jax.kernels import pair_init

STRICT = {
    "rank promotion": lambda: jax.numpy_rank_promotion("raise"),
    "dtype promotion": lambda: jax.numpy_dtype_promotion("strict"),
}


def rounded(inputs, dtype):
    """The tokens in another dtype; the arrays stay float32, as a model keeps them."""
    return inputs._replace(first=inputs.first.astype(dtype), second=inputs.second.astype(dtype))


def sum_of(spec, inputs):
    paired = run(spec, inputs, *REAL)
    return paired.first.astype(jnp.float32).sum() + paired.second.astype(jnp.float32).sum()


@pytest.mark.parametrize("mode", STRICT)
@pytest.mark.parametrize("spec", SPECS)
def test_it_is_traced_forward_and_backward_in_a_strict_mode(spec, mode):
    for dtype in (jnp.float32, jnp.bfloat16):
        with STRICT[mode]():
            jax.eval_shape(jax.grad(lambda inputs: sum_of(spec, inputs)), rounded(make(spec), dtype))


@pytest.mark.parametrize("spec", SPECS)
def test_in_bfloat16_only_the_result_is_rounded(spec):
    narrow = rounded(make(spec), jnp.bfloat16)
    found = quick_jit(lambda inputs: run(spec, inputs, *REAL))(narrow)
    exact = paired_and_gradients(spec, rounded(narrow, jnp.float32), REAL, WEIGHING)[0]
    for ours, theirs in ((found.first, exact.first), (found.second, exact.second)):
        assert ours.dtype == jnp.bfloat16
        np.testing.assert_allclose(ours.astype(jnp.float32), theirs, rtol=2**-8, atol=1e-6)
    others = [leaf for leaf in (found.affinity, found.first_weights, found.second_weights) if leaf is not None]
    assert {leaf.dtype for leaf in others} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(found.affinity, exact.affinity, atol=1e-6)


@pytest.mark.parametrize("spec", SPECS)
def test_vmap_gives_the_values_of_the_plain_calls_and_two_runs_the_same_bits(spec):
    each = [make(spec, seed=seed)._replace(params=make(spec).params) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    both = quick_jit(jax.vmap(lambda inputs: run(spec, inputs, *REAL)))(stacked)
    for number, inputs in enumerate(each):
        plain, expected = paired_and_gradients(spec, inputs, REAL, WEIGHING)
        for name in ("first", "second"):
            assert error(getattr(both, name)[number], getattr(plain, name)) < AGREEMENT
        assert same_bits((plain, expected), paired_and_gradients(spec, inputs, REAL, WEIGHING))


@pytest.mark.parametrize("spec", SPECS)
def test_no_operation_gives_nan_on_the_way_to_finite_results(spec):
    assert not operations_that_give_nan(jax.grad(lambda inputs: sum_of(spec, inputs)), make(spec))


@pytest.mark.parametrize("spec", SPECS)
def test_its_arrays_are_float32_under_x64_too_and_drawn_by_the_key_alone(spec):
    with jax.enable_x64(True):
        wide, again = (pair_init(spec, jax.random.key(3), WIDTH, length=8) for _ in range(2))
    assert {array.dtype for array in wide.values()} <= {jnp.dtype(jnp.float32)}
    assert same_bits(wide, again)
