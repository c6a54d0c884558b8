"""Dropout of weights is a function of (key, batch, head, query position, key position)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    AGREEMENT,
    SPECS,
    claiming,
    doubled,
    error,
    like_output,
    make,
    one_way,
    out_and_gradients,
    part_of,
    quick_jit,
    run,
    run_compiled,
    same_bits,
    usual_mask,
    widely,
)
from attention_jax.kernels import Causal, Refused, lookup

DROPS = claiming(dropout=True)
KEY = jax.random.key(7)
RATE = 0.4


@pytest.mark.parametrize("spec", widely(claiming(dropout=True, cross=True, rows_apart=True)))
def test_a_part_of_the_queries_and_keys_is_dropped_as_in_the_whole(spec):
    inputs = make(spec)
    dropping = {"mask": Causal(), "rng": KEY, "dropout_rate": RATE}
    whole = run_compiled(spec, inputs, **dropping).out
    part = part_of(spec, inputs, slice(2, 5), slice(0, 5))
    positions = (jnp.arange(2, 5)[None], jnp.arange(5)[None])
    assert error(run_compiled(spec, part, positions=positions, **dropping).out, whole[:, 2:5]) < AGREEMENT


@pytest.mark.parametrize("spec", widely(DROPS))
def test_the_same_under_vmap(spec):
    inputs = make(spec)
    dropping = {"mask": one_way(spec), "rng": KEY, "dropout_rate": RATE}
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), inputs)
    both = quick_jit(jax.vmap(lambda inputs: run(spec, inputs, **dropping).out))(stacked)
    assert error(both[0], run_compiled(spec, inputs, **dropping).out) < AGREEMENT
    assert same_bits(both[0], both[1])


@pytest.mark.parametrize("spec", DROPS)
def test_the_same_in_the_backward_pass(spec):
    inputs = make(spec)
    dropping = {"mask": one_way(spec), "rng": KEY, "dropout_rate": RATE}
    weighing = like_output(inputs)
    out, found = out_and_gradients(spec, inputs, weighing, engine=None, **dropping)
    assert error(out, run_compiled(spec, inputs, **dropping).out) < AGREEMENT
    with jax.enable_x64(True):
        ahead, behind = (
            run_compiled(spec, exact._replace(value=exact.value + step), **dropping).out
            for exact in [doubled(inputs)]
            for step in (1e-6, -1e-6)
        )
        along = ((np.asarray(ahead) - np.asarray(behind)) / 2e-6 * weighing).sum()
    np.testing.assert_allclose(np.asarray(found.value).sum(), along, rtol=1e-4)


@pytest.mark.parametrize("spec", [spec for spec in DROPS if not lookup(spec).mechanism.draws])
def test_another_key_drops_others(spec):
    given = {"mask": one_way(spec), "dropout_rate": RATE}
    one, other = (run_compiled(spec, make(spec), rng=jax.random.key(seed), **given).out for seed in (0, 1))
    assert not same_bits(one, other)


@pytest.mark.parametrize("spec", widely([spec for spec in DROPS if not lookup(spec).mechanism.draws]))
def test_rate_zero_drops_none(spec):
    inputs, mask = make(spec), one_way(spec)
    plain = run_compiled(spec, inputs, mask=mask).out
    assert same_bits(run_compiled(spec, inputs, mask=mask, rng=KEY, dropout_rate=0.0).out, plain)


@pytest.mark.parametrize("spec", SPECS)
def test_a_rate_outside_its_range_or_without_a_key_is_refused(spec):
    inputs, mask = make(spec), usual_mask(spec)
    for rate in (-0.1, 1.0, 1.5, float("nan")):
        with pytest.raises(Refused, match=r"dropout_rate=.* is not in \[0, 1\)"):
            run(spec, inputs, mask=mask, rng=KEY, dropout_rate=rate)
    with pytest.raises(Refused, match=r"dropout_rate=0.4 needs rng"):
        run(spec, inputs, mask=mask, dropout_rate=RATE)
