"""Schedules against their formulas, clipping, what decays, and names and options that do not exist."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attention_jax import models
from attention_jax.kernels import Refused
from attention_jax.training.optimizer import build_optimizer, decays

PEAK, STEPS, WARMUP, FINAL = 0.5, 20, 5, 0.1


def along(step: int) -> float:
    """Returns which share of the way from the end of the warm-up to the last step is behind."""
    return (step - WARMUP) / (STEPS - WARMUP)


FORMULAS = {
    "constant": lambda step: 1.0,
    "warmup_linear": lambda step: 1 - (1 - FINAL) * along(step),
    "warmup_cosine": lambda step: FINAL + (1 - FINAL) * (1 + math.cos(math.pi * along(step))) / 2,
    "rsqrt": lambda step: math.sqrt(WARMUP / step),
}


def rate(name: str, **options) -> optax.Schedule:
    return build_optimizer(steps=STEPS, learning_rate=PEAK, schedule={"name": name, **options})[1]


@pytest.mark.parametrize("name", FORMULAS)
def test_schedules_are_their_formulas(name):
    options = {"final_fraction": FINAL} if name.startswith("warmup") else {}
    schedule = rate(name, warmup_steps=WARMUP, **options)
    # rsqrt has no step 0: it starts as if at step 1.
    warmup = [PEAK * max(step, name == "rsqrt") / WARMUP for step in range(WARMUP)]
    after = [PEAK * FORMULAS[name](step) for step in range(WARMUP, STEPS + 1)]
    assert after[0] == PEAK
    np.testing.assert_allclose([schedule(step) for step in range(STEPS + 1)], warmup + after, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["constant", "warmup_linear", "warmup_cosine"])
def test_without_warmup_the_first_step_has_the_whole_rate(name):
    assert float(rate(name)(0)) == PEAK


@pytest.mark.parametrize("name", ["warmup_linear", "warmup_cosine"])
def test_the_default_end_is_zero(name):
    assert float(rate(name)(STEPS)) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize(("clip_norm", "expected"), [(None, 5.0), (1.0, 1.0), (7.0, 5.0)])
def test_gradients_are_scaled_down_to_the_norm_that_is_set(clip_norm, expected):
    optimizer, _ = build_optimizer(
        steps=STEPS, name="sgd", learning_rate=1.0, clip_norm=clip_norm, schedule={"name": "constant"}
    )
    gradients = {"a": jnp.array([3.0]), "b": jnp.array([[0.0, 4.0]])}
    updates, _ = optimizer.update(gradients, optimizer.init(gradients), gradients)
    np.testing.assert_allclose(updates["a"], [-3 * expected / 5], rtol=1e-6)
    np.testing.assert_allclose(updates["b"], [[0, -4 * expected / 5]], rtol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_weight_decay_shrinks_kernels_and_embeddings_only(name):
    facts = {"vocabulary_size": 5, "length": 4}
    model = models.build("gpt", facts=facts, attention="additive", num_layers=1, num_heads=2, width=8, use_bias=True)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32)))["params"]
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), params)
    optimizer, _ = build_optimizer(
        steps=STEPS, name=name, learning_rate=0.1, weight_decay=0.5, schedule={"name": "constant"}
    )
    still = jax.tree.map(jnp.zeros_like, params)
    updates, _ = jax.jit(optimizer.update)(still, optimizer.init(params), params)
    shrunk = {
        jax.tree_util.keystr(path, simple=True, separator=".")
        for path, update in jax.tree.leaves_with_path(updates)
        if (update != 0).any()
    }
    layers = {f"attention.{layer}" for layer in ("query", "key", "value", "out")}
    layers |= {f"feed_forward.{layer}" for layer in ("hidden", "out")}
    assert shrunk == {f"block_0.{layer}.kernel" for layer in layers} | {"token.embedding", "position.embedding"}
    np.testing.assert_allclose(updates["token"]["embedding"], -0.1 * 0.5, rtol=1e-6)
    # Arrays of the variant are there and are among those that stay.
    assert "variant_query" in params["block_0"]["attention"]


def test_what_decays_is_known_by_its_name_and_not_by_its_shape():
    params = {"dense": {"kernel": jnp.ones(2), "bias": jnp.ones((2, 2))}, "class_token": jnp.ones((1, 1, 2))}
    assert decays(params) == {"dense": {"kernel": True, "bias": False}, "class_token": False}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "adam"}, r"^there is no optimizer 'adam'\. Did you mean 'adamw'\?$"),
        ({"beta1": 0.9}, r"^optimizer 'adamw' has no option 'beta1' \(given 0\.9\)\. Did you mean 'b1'\?$"),
        ({"name": "sgd", "weight_decay": 0.1}, r"^optimizer 'sgd' has no option 'weight_decay'"),
        ({"name": "sgd", "nesterov": True}, r"^optimizer\.nesterov=True changes nothing without momentum: set"),
        ({"learning_rate": -1.0}, r"^optimizer\.learning_rate=-1\.0: give a number of at least 0"),
        ({"clip_norm": 0.0}, r"^optimizer\.clip_norm=0\.0: give a number above 0, or None"),
        ({"schedule": {"name": "cosine"}}, r"no learning-rate schedule 'cosine'\. Did you mean 'warmup_cosine'"),
        ({"schedule": {"warmup": 3}}, r"schedule 'warmup_cosine' has no option 'warmup' .*'warmup_steps'\?"),
        ({"schedule": {"name": "rsqrt", "final_fraction": 0.1}}, r"'rsqrt' has no option 'final_fraction'"),
        ({"schedule": {"name": "rsqrt", "warmup_steps": 0}}, r"warmup_steps=0: rsqrt falls from its warm-up"),
        ({"schedule": {"warmup_steps": 20}}, r"warmup_steps=20 is not in 0 to 19: the run has 20 steps"),
        ({"schedule": {"name": "warmup_linear", "warmup_steps": -1}}, r"warmup_steps=-1 is not in 0 to 19"),
        ({"schedule": {"name": "constant", "warmup_steps": -1}}, r"warmup_steps=-1 is not in 0 to 19"),
    ],
)
def test_what_cannot_be_used_is_refused(options, message):
    with pytest.raises(Refused, match=message):
        build_optimizer(steps=STEPS, **options)
