"""Clustered attention where several clusters are in use, and where most keys are those that the centroid weighs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from attention_jax.contract.cases import ROUNDING, doubled, error, like_output, make, run, run_compiled, same_bits
from attention_jax.kernels import Padding, Refused, budget, lookup
from attention_jax.kernels.variants.lowrank.hamming import clusters_of, signs
from tests.oracle.equations import equation
from tests.oracle.loops import oracle

TOKENS = 24
REAL = np.ones((2, TOKENS), bool)
REAL[0, [0, 1, 7, 8, 20]] = False
REAL[1, 15:] = False
PLAIN, IMPROVED = "clustered:clusters=4,bits=16", "clustered:clusters=4,bits=16,top_k=5"


def clusters_in_use(inputs):
    codes = signs(inputs.query, inputs.params["planes"])
    number = clusters_of(codes, jnp.asarray(REAL), clusters=4, iterations=10)
    return [len(set(row[real].tolist())) for of, real in zip(np.asarray(number), REAL, strict=True) for row in of]


@pytest.mark.parametrize("spec", [PLAIN, IMPROVED])
def test_several_clusters_are_the_equation_and_their_gradients_those_of_differences(spec):
    inputs = make(spec, queries=TOKENS)
    assert min(clusters_in_use(inputs)) >= 3
    visible = np.broadcast_to(REAL[:, None, None], (2, 4, TOKENS, TOKENS))
    expected = oracle(equation(spec), *inputs, visible=visible).out
    assert error(run(spec, inputs, mask=Padding(REAL)).out, expected) < ROUNDING
    with jax.enable_x64(True):
        inputs = doubled(inputs)
        start, unravel = ravel_pytree(inputs[:3])
        direction = jnp.asarray(np.random.default_rng(0).normal(size=start.shape))

        @jax.jit
        def total(flat):
            query, key, value = unravel(flat)
            case = inputs._replace(query=query, key=key, value=value)
            return (run(spec, case, mask=Padding(REAL)).out * like_output(inputs)).sum()

        gradient = jax.jit(jax.grad(total))(start)
        difference = (total(start + 1e-6 * direction) - total(start - 1e-6 * direction)) / 2e-6
        np.testing.assert_allclose(gradient @ direction, difference, rtol=1e-7)


def test_what_padded_places_hold_does_not_count():
    inputs, other = make(IMPROVED, queries=TOKENS), make(IMPROVED, queries=TOKENS, seed=3, scale=30.0)
    changed = inputs.with_tokens(lambda one, two: jnp.where(REAL[..., None, None], one, two), other)
    found, expected = (
        np.asarray(run_compiled(IMPROVED, case, mask=Padding(REAL)).out)[REAL] for case in (changed, inputs)
    )
    np.testing.assert_array_equal(found, expected)


def test_some_queries_at_a_time_are_as_all_at_once(monkeypatch):
    inputs = make(IMPROVED, queries=TOKENS)
    at_once = run(IMPROVED, inputs).out
    monkeypatch.setattr(budget, "ELEMENTS", 5 * 2 * 4 * 5 * 13)
    assert error(run(IMPROVED, inputs).out, at_once) < ROUNDING


def test_queries_of_one_cluster_get_the_same_and_of_another_not():
    inputs = make("clustered:clusters=1", queries=TOKENS)
    out = np.asarray(run_compiled("clustered:clusters=1", inputs).out)
    assert same_bits(out, np.broadcast_to(out[:, :1], out.shape))
    assert not same_bits(run_compiled(PLAIN, make(PLAIN, queries=TOKENS)).out[:, 1], out[:, 0])


def test_more_keys_than_there_are_and_none_at_all_are_refused():
    with pytest.raises(Refused, match="clustered:top_k=32 is more than the 7 keys there are: give fewer"):
        run("clustered:top_k=32", make("clustered:top_k=32"))
    for option, least in (("clusters=0", 1), ("bits=0", 1), ("top_k=-1", 0), ("iterations=-1", 0)):
        with pytest.raises(Refused, match=f"clustered:{option} is too few: give at least {least}"):
            lookup(f"clustered:{option}")
