"""Dropout of weights is a function of (key, batch, head, query position, key position)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    AGREEMENT,
    SPECS,
    claiming,
    error,
    like_output,
    make,
    out_and_gradients,
    quick_jit,
    reference_engine,
    run,
    same_bits,
    usual_mask,
)
from attention_jax.kernels import Causal, Refused, lookup

DROPS = claiming(dropout=True)
KEY = jax.random.key(7)
RATE = 0.4


@pytest.mark.parametrize("spec", claiming(dropout=True, cross=True, rows_apart=True))
def test_a_part_of_the_queries_and_keys_is_dropped_as_in_the_whole(spec):
    inputs = make(spec)
    dropping = {"mask": Causal(), "rng": KEY, "dropout_rate": RATE}
    whole = run(spec, inputs, **dropping).out
    sides, beside = {"query": slice(2, 5), "key": slice(0, 5)}, lookup(spec).mechanism.inputs
    part = inputs._replace(
        query=inputs.query[:, sides["query"]],
        key=inputs.key[:, sides["key"]],
        value=inputs.value[:, sides["key"]],
        beside={name: array[:, sides[beside[name].of]] for name, array in inputs.beside.items()},
    )
    positions = (jnp.arange(2, 5)[None], jnp.arange(5)[None])
    assert error(run(spec, part, positions=positions, **dropping).out, whole[:, 2:5]) < AGREEMENT


@pytest.mark.parametrize("spec", DROPS)
def test_the_same_under_jit_and_vmap_and_in_the_backward_pass(spec):
    inputs = make(spec)
    dropping = {"mask": Causal(), "rng": KEY, "dropout_rate": RATE}
    plain = run(spec, inputs, **dropping).out
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), inputs)
    both = quick_jit(jax.vmap(lambda inputs: run(spec, inputs, **dropping).out))(stacked)
    assert error(both[0], plain) < AGREEMENT
    assert same_bits(both[0], both[1])
    _, gradients = out_and_gradients(spec, inputs, like_output(inputs), engine=reference_engine(spec), **dropping)
    ahead = np.asarray(gradients.value)
    nudged = inputs._replace(value=inputs.value + 1)
    linear = (np.asarray(run(spec, nudged, **dropping).out - plain) * like_output(inputs)).sum()
    np.testing.assert_allclose(ahead.sum(), linear, rtol=1e-4, err_msg="out is linear in the values")


@pytest.mark.parametrize("spec", [spec for spec in DROPS if not lookup(spec).mechanism.draws])
def test_another_key_drops_others_and_rate_zero_drops_none(spec):
    inputs = make(spec)
    mask = usual_mask(spec)
    plain = run(spec, inputs, mask=mask).out
    assert same_bits(run(spec, inputs, mask=mask, rng=KEY, dropout_rate=0.0).out, plain)
    one, other = (run(spec, inputs, mask=mask, rng=jax.random.key(seed), dropout_rate=RATE).out for seed in (0, 1))
    assert not same_bits(one, other)


@pytest.mark.parametrize("spec", SPECS)
def test_a_rate_outside_its_range_or_without_a_key_is_refused(spec):
    inputs = make(spec)
    for rate in (-0.1, 1.0, 1.5, float("nan")):
        with pytest.raises(Refused, match=r"dropout_rate=.* is not in \[0, 1\)"):
            run(spec, inputs, rng=KEY, dropout_rate=rate)
    with pytest.raises(Refused, match=r"dropout_rate=0.4 needs rng"):
        run(spec, inputs, dropout_rate=RATE)
