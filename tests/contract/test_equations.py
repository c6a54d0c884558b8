"""Every variant is the equation of its paper, under every mask, and with a bias and dropout in their order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import ROUNDING, claims, error, make, qualified, run_compiled
from attention_jax.contract.mask_cases import MASKS, under, visible
from attention_jax.kernels import lookup
from attention_jax.kernels.dropout import keep_mask
from attention_jax.kernels.mechanism import Place
from tests.contract.known import KNOWN
from tests.oracle.equations import Whole, equation
from tests.oracle.loops import oracle

KEY = jax.random.key(7)
RATE = 0.4


def visible_to(kind):
    """Who sees whom by the caller's mask: the equation knows the variant's own."""
    return visible("scaled_dot", kind)


# The mixed kinds first, so that a variant is always tried on them.
KINDS = sorted(MASKS, key=("causal&padding&segments", "dense", "window", "none").__contains__, reverse=True)


@pytest.mark.parametrize(("spec", "kind"), under(KINDS, KNOWN, first=2))
def test_equals_the_equation_of_the_paper(spec, kind):
    mask, inputs = MASKS[kind].mask, make(spec)
    reference = oracle(equation(spec), *inputs, visible=visible_to(MASKS[kind]))
    given = [name for name in ("weights", "lse") if getattr(claims(spec), name)]
    telling = qualified(spec, inputs, mask=mask, outputs=("out", *given))
    for engine in qualified(spec, inputs, mask=mask):
        outputs = {"outputs": ("out", *given)} if given and engine in telling else {}
        result = run_compiled(spec, inputs, engine, mask=mask, **outputs)
        assert error(result.out, reference.out) < ROUNDING, engine
        if result.weights is not None:
            np.testing.assert_allclose(result.weights, reference.weights, atol=ROUNDING)
        if result.lse is not None and reference.lse is not None:
            np.testing.assert_allclose(result.lse, reference.lse, rtol=ROUNDING, atol=ROUNDING)
    assert telling


def kept(queries=7, keys=7):
    """Which weights stay, of 2 sequences and 4 heads, [B, N, T, S]."""
    place = Place(jnp.arange(2), jnp.arange(4), jnp.arange(queries)[None], jnp.arange(keys)[None])
    return np.asarray(keep_mask(KEY, RATE, place))


# Given a key, some draw more than what is dropped.
DROPPING = [
    spec
    for spec, _ in under(["causal&padding&segments"], KNOWN)
    if claims(spec).dropout and not lookup(spec).mechanism.draws
]


@pytest.mark.parametrize("spec", ["scaled_dot:scale=3.0", *DROPPING])
def test_the_order_is_scale_bias_mask_normalise_dropout(spec):
    inputs, kind = make(spec), MASKS["causal&padding&segments"]
    # A whole problem's oracle knows no bias: that one is added to logits at its place is held by the others.
    biased = claims(spec).bias and not isinstance(equation(spec), Whole)
    bias = np.random.default_rng(3).normal(size=(4, 1, 7)) if biased else 0.0
    expected = oracle(equation(spec), *inputs, visible=visible_to(kind), bias=bias, keep=kept(), rate=RATE)
    arguments = {"bias": jnp.asarray(bias, jnp.float32)} if biased else {}
    outputs = ("out", "weights") if claims(spec).weights else ("out",)
    result = run_compiled(spec, inputs, mask=kind.mask, rng=KEY, dropout_rate=RATE, outputs=outputs, **arguments)
    assert error(result.out, expected.out) < ROUNDING
    if claims(spec).weights:
        np.testing.assert_allclose(result.weights, expected.weights, atol=2e-6)
