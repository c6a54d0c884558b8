"""Strengths up to 2 in the delta family: eigenvalues down to -1, with which a state follows what one above 0 cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import ROUNDING, error, make, run
from attention_jax.kernels import Causal, Refused, attend
from tests.oracle.equations import equation
from tests.oracle.loops import oracle

FAMILY = ["delta_net", "gated_delta_net", "kimi_delta"]
TOKENS = 70  # more than a chunk
PAST = np.broadcast_to(np.tri(TOKENS, dtype=bool), (2, 4, TOKENS, TOKENS))


@pytest.mark.parametrize("name", FAMILY)
def test_every_one_is_its_equation_at_twice_the_strength(name):
    spec = f"{name}:max_beta=2"
    inputs = make(spec, queries=TOKENS)
    expected = oracle(equation(spec), *inputs, visible=PAST).out
    assert error(run(spec, inputs, mask=Causal()).out, expected) < ROUNDING
    assert error(run(name, inputs, mask=Causal()).out, expected) > 0.1


def parity(bits, spec):
    """The state of one head of width 1 after each bit: it is written first, then turned around by each 1."""
    one = jnp.ones((1, len(bits) + 1, 1, 1))
    beta = jnp.concatenate([jnp.zeros(1), jnp.where(bits == 1, 40.0, -40.0)])
    return attend(
        one, one, one.at[:, 1:].set(0), variant=spec, per_token={"beta": beta[None, :, None]}, mask=Causal()
    ).out[0, 1:, 0, 0]


def test_one_head_holds_the_parity_of_all_bits_so_far_and_with_strengths_up_to_1_it_does_not():
    bits = np.random.default_rng(0).integers(0, 2, 300)
    np.testing.assert_allclose(parity(bits, "delta_net:max_beta=2"), (-1.0) ** bits.cumsum(), atol=1e-5)
    np.testing.assert_allclose(parity(bits, "delta_net")[bits.argmax() :], 0, atol=1e-6)


@pytest.mark.parametrize(("spec", "alternates"), [("delta_net", False), ("delta_net:max_beta=2", True)])
def test_a_run_of_ones_never_alternates_below_strengths_of_1_whatever_head_reads_it(spec, alternates):
    """Grazzi et al. 2024, theorem 1: so no head tells odd from even in a run of ones, however it is trained."""
    heads, tokens = 256, 12
    query, key, value = jax.random.normal(jax.random.key(0), (3, 1, 1, heads, 4))
    beta = 3 * jax.random.normal(jax.random.key(1), (1, 1, heads))
    query, key, value, beta = (jnp.repeat(array, tokens, axis=1) for array in (query, key, value, beta))
    out = attend(query, key, value, variant=spec, per_token={"beta": beta}, mask=Causal()).out
    steps = np.diff(out, axis=1)
    steps = np.where(np.abs(steps) > 1e-5, steps, 0)
    turns = (steps[:, 1:] * steps[:, :-1] < 0).any((1, 3))
    assert turns.any() == alternates


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("max_beta", ["0.0", "2.5"])
def test_strengths_that_grow_what_they_take_out_are_refused(name, max_beta):
    with pytest.raises(Refused, match=f"^{name} has max_beta={max_beta}: .*give 1, or up to 2.$"):
        run(f"{name}:max_beta={max_beta}", make(name), mask=Causal())
