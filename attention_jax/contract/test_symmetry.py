"""What must not matter does not: the order of keys, of heads and of sequences; how key heads are shared; the widths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    AGREEMENT,
    SPECS,
    Inputs,
    claiming,
    claims,
    error,
    make,
    of_heads,
    one_way,
    part_of,
    qualified,
    run_compiled,
    usual_mask,
    widely,
)
from attention_jax.contract.mask_cases import takes_mask
from attention_jax.kernels import Dense
from attention_jax.kernels.mask_algebra import conjunction

ORDER = np.array([4, 0, 6, 2, 5, 1, 3])


def by_head(spec, params, of_query, of_key):
    """Takes a variant's arrays at these query heads and these key heads; an array for neither stays as it is."""
    few, many = (make(spec, heads=heads, kv_heads=heads // 2).params for heads in (4, 8))

    def take(array, few, many):
        if few.shape == many.shape:
            return array
        return array[of_query if few.shape[0] == 4 else of_key]

    return jax.tree.map(take, params, few, many)


@pytest.mark.parametrize("spec", claiming(bidirectional=True, order_free=True))
def test_the_order_of_the_keys_does_not_matter(spec):
    inputs = make(spec)
    shuffled = part_of(spec, inputs, slice(None), ORDER)
    in_order = jnp.arange(7)[None]
    for engine in qualified(spec, inputs):
        plain = run_compiled(spec, inputs, engine).out
        again = run_compiled(spec, shuffled, engine, positions=(in_order, in_order[:, ORDER])).out
        assert error(again, plain) < AGREEMENT


@pytest.mark.parametrize("spec", SPECS)
def test_sequences_do_not_see_each_other_and_their_order_does_not_matter(spec):
    inputs = make(spec)
    turned = inputs.with_tokens(lambda array: array[::-1])
    for engine in qualified(spec, inputs, mask=one_way(spec)):
        plain, back = (run_compiled(spec, case, engine, mask=one_way(spec)).out for case in (inputs, turned))
        assert error(back[::-1], plain) < AGREEMENT


@pytest.mark.parametrize("spec", claiming(grouped=True, heads_apart=True))
def test_heads_do_not_see_each_other_and_their_order_does_not_matter(spec):
    inputs = make(spec)
    of_query, of_key = np.array([3, 2, 0, 1]), np.array([1, 0])
    turned = Inputs(
        inputs.query[:, :, of_query],
        inputs.key[:, :, of_key],
        inputs.value[:, :, of_key],
        by_head(spec, inputs.params, of_query, of_key),
        of_heads(spec, inputs, of_query, of_key),
    )
    mask = usual_mask(spec)
    for engine in qualified(spec, inputs, mask=mask):
        ours, plain = (run_compiled(spec, case, engine, mask=mask).out for case in (turned, inputs))
        assert error(ours, plain[:, :, of_query]) < AGREEMENT


@pytest.mark.parametrize("spec", claiming(grouped=True, heads_apart=True))
def test_a_key_head_that_is_shared_equals_its_copies(spec):
    inputs = make(spec)
    copies = np.array([0, 0, 1, 1])
    repeated = Inputs(
        inputs.query,
        inputs.key[:, :, copies],
        inputs.value[:, :, copies],
        by_head(spec, inputs.params, np.arange(4), copies),
        of_heads(spec, inputs, np.arange(4), copies),
    )
    mask = usual_mask(spec)
    for engine in qualified(spec, inputs, mask=mask):
        shared, copied = (run_compiled(spec, case, engine, mask=mask) for case in (inputs, repeated))
        assert error(shared.out, copied.out) < AGREEMENT


@pytest.mark.parametrize("spec", widely(spec for spec in claiming(convex=True) if claims(spec).fewest_keys == 1))
def test_the_one_key_that_there_is_gives_its_value(spec):
    inputs, mask = make(spec, batch=1, queries=1), usual_mask(spec)
    expected = np.repeat(inputs.value, 4 // inputs.value.shape[2], axis=2)
    for engine in qualified(spec, inputs, mask=mask):
        np.testing.assert_allclose(run_compiled(spec, inputs, engine, mask=mask).out, expected, rtol=3e-7)


@pytest.mark.parametrize("spec", claiming(convex=True))
def test_the_one_key_that_is_visible_gives_its_value(spec):
    inputs, only = make(spec), conjunction(usual_mask(spec), Dense(np.eye(7, dtype=bool)))
    if takes_mask(spec, only):
        expected = np.repeat(inputs.value, 4 // inputs.value.shape[2], axis=2)
        np.testing.assert_allclose(run_compiled(spec, inputs, mask=only).out, expected, rtol=3e-7)
