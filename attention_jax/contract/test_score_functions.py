"""Score functions that are singular on hidden pairs: the gradient of what is visible, whatever hides the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import SPECS, accepting, claims, make, qualified, quick_jit, run, widely
from attention_jax.contract.mask_cases import takes_mask
from attention_jax.kernels import (
    Blocks,
    Causal,
    Dense,
    KeyValueCache,
    Padding,
    Segments,
    Sizes,
    Window,
    attend_cached,
)

TOKENS = 7
DISTANCE = np.arange(TOKENS)[:, None] - np.arange(TOKENS)
TABLE = np.r_[np.linspace(0.1, 1, TOKENS), np.full(TOKENS - 1, np.nan)].astype(np.float32)

# Each with the same rule in NumPy: (score, distance, a) -> score. Where the distance is below 0 each is singular.
FUNCTIONS = {
    "log": (lambda s, d, a, xp: s - a * xp.log1p(d)),
    "sqrt": (lambda s, d, a, xp: s - a * xp.sqrt(d + 0.5)),
    "power": (lambda s, d, a, xp: s * (d + 1) ** (-a)),
    "division": (lambda s, d, a, xp: s * a / (d + 1)),
    "overflow": (lambda s, d, a, xp: s - a * xp.exp(-60 * d)),
    "lookup": (lambda s, d, a, xp: s * a * xp.asarray(TABLE)[(d if xp is np else d.astype(jnp.int32)).astype(int)]),
}
HIDING = {
    "causal": lambda: Causal(),
    "window": lambda: Causal() & Window(3),
    "padding": lambda: Causal() & Padding(np.array([7, 4])),
    "segments": lambda: Causal() & Segments(np.array([[0, 0, 1, 1, 1, 2, 2]] * 2)),
    "dense": lambda: Dense(DISTANCE >= 0),
    "blocks": lambda: Causal() & Blocks(np.ones((1, 1, 4, 4), bool), 2, 2),
}
SCORED = [spec for spec in SPECS if claims(spec).bias and all(takes_mask(spec, mask()) for mask in HIDING.values())]


def score_mod(function, a):
    def modify(score, batch, head, query, key):
        return function(score, (query - key).astype(score.dtype), a, jnp)

    return modify


def gradients(spec, inputs, a, mask, engine, function):
    """Of a weighed sum of the outputs, in a and in the inputs, by the score function."""

    def total(a, inputs):
        out = run(spec, inputs, mask=mask, engine=engine, score_mod=score_mod(function, a)).out
        return (out * jnp.cos(jnp.arange(out.size)).reshape(out.shape)).sum()

    return jax.value_and_grad(total, argnums=(0, 1))(a, inputs)


def without_singularity(spec, inputs, a, mask, function):
    """The same with distances that are not below 0, in the dense engine."""

    def total(a, inputs):
        def held(score, batch, head, query, key):
            return function(score, jnp.maximum(query - key, 0).astype(score.dtype), a, jnp)

        out = run(spec, inputs, mask=mask, engine="dense", score_mod=held).out
        return (out * jnp.cos(jnp.arange(out.size)).reshape(out.shape)).sum()

    return jax.value_and_grad(total, argnums=(0, 1))(a, inputs)


def close(left, right):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-5), left, right)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("spec", widely(SCORED))
def test_a_function_that_is_singular_on_hidden_pairs_has_the_gradient_of_the_visible_ones(spec, name):
    inputs, a = make(spec), jnp.float32(0.5)
    for kind in ("causal", "padding"):
        mask = HIDING[kind]()
        expected = quick_jit(lambda a, i, m=mask: without_singularity(spec, i, a, m, FUNCTIONS[name]))(a, inputs)
        for engine in qualified(spec, inputs, mask=mask, score_mod=score_mod(FUNCTIONS[name], a)):
            call = quick_jit(lambda a, i, e=engine, m=mask: gradients(spec, i, a, m, e, FUNCTIONS[name]))
            close(call(a, inputs), expected)


@pytest.mark.parametrize("kind", HIDING)
def test_whatever_hides_the_pair_in_every_engine(kind):
    inputs, a, mask, function = make("scaled_dot"), jnp.float32(0.5), HIDING[kind](), FUNCTIONS["log"]
    expected = without_singularity("scaled_dot", inputs, a, mask, function)
    engines = accepting("scaled_dot", inputs, mask=mask, score_mod=score_mod(function, a))
    assert {"dense", "blockwise", "decode"} <= set(engines)
    for engine in engines:
        close(quick_jit(lambda a, i, e=engine: gradients("scaled_dot", i, a, mask, e, function))(a, inputs), expected)


def test_the_gradient_is_that_of_float64_differences():
    with jax.enable_x64(True):
        inputs = make("scaled_dot", dtype=jnp.float64)

        def total(a):
            return gradients("scaled_dot", inputs, a, Causal(), "dense", FUNCTIONS["power"])[0]

        step = 1e-6
        difference = (total(jnp.float64(0.5 + step)) - total(jnp.float64(0.5 - step))) / (2 * step)
        _, (derivative, _) = gradients("scaled_dot", inputs, jnp.float64(0.5), Causal(), "dense", FUNCTIONS["power"])
    np.testing.assert_allclose(derivative, difference, rtol=1e-7)


@pytest.mark.parametrize("engine", ["dense", "blockwise", "decode"])
def test_slots_of_a_cache_that_are_not_written_yet_give_no_gradient(engine):
    inputs = make("scaled_dot", queries=3)
    cache = KeyValueCache.empty(Sizes(4, 2, 8, 8, 5), batch=2, capacity=9)

    def total(a, inputs, singular):
        def modify(score, batch, head, query, key):
            distance = (query - key).astype(score.dtype)
            return score - a * jnp.log1p(distance if singular else jnp.maximum(distance, 0))

        return (attend_cached(*inputs[:3], cache, mask=Causal(), score_mod=modify, engine=engine)[0].out ** 2).sum()

    found, expected = (
        jax.jit(jax.grad(total, argnums=(0, 1)), static_argnums=2)(0.5, inputs, singular) for singular in (True, False)
    )
    close(found, expected)


@pytest.mark.parametrize("returned", [1, 1.5])
def test_a_plain_number_is_a_score(returned):
    spec, inputs = "scaled_dot", make("scaled_dot")
    plain = run(spec, inputs, score_mod=lambda *pair: returned).out
    np.testing.assert_allclose(plain, run(spec, inputs, score_mod=lambda s, *pair: 0 * s + returned).out, rtol=1e-6)


def test_functions_within_functions_and_branches_are_evaluated_for_hidden_pairs_too():
    @jax.jit
    def inner(distance):
        return jax.lax.cond(distance > 2, jnp.log1p, lambda d: jax.nn.softplus(jnp.sqrt(d)), distance)

    def function(score, distance, a, xp):
        return score - a * inner(distance + 0.25)

    inputs, a = make("scaled_dot"), jnp.float32(0.5)
    expected = without_singularity("scaled_dot", inputs, a, Causal(), function)
    for engine in ("dense", "blockwise", "decode"):
        close(gradients("scaled_dot", inputs, a, Causal(), engine, function), expected)
