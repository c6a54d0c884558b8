"""Attention between its projections: equal to Flax's own, any variant inside, and what it refuses."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import SPECS, one_way, widely
from attention_jax.kernels import Causal, Padding, Refused, Sizes, attend, init, lookup, names
from attention_jax.layers import Attention, Seen, StackOptions, require_causal
from tests.layers.arrays import apply, normal, random_variables, variant_file

BATCH, TOKENS, WIDTH, HEADS = 2, 6, 12, 3
INPUTS = normal(BATCH, TOKENS, WIDTH)
# Rows that see nothing are left out: Flax gives them the mean of all values, we give 0.
SEEN = np.array([[True] * 6, [True] * 4 + [False] * 2])


def attention(variant: str, *, num_heads: int = HEADS, **options: Any) -> Attention:
    return Attention(variant, StackOptions(num_heads=num_heads, width=WIDTH, positions="none", **options))


def traced(layer: Attention, **options: Any) -> Any:
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return jax.eval_shape(lambda: layer.init(rngs, INPUTS, Seen(), **options))


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_is_flax_multi_head_attention_on_the_same_parameters(use_bias, masked):
    theirs = nn.MultiHeadDotProductAttention(num_heads=HEADS, use_bias=use_bias)
    ours = attention("scaled_dot", use_bias=use_bias)
    variables = random_variables(theirs, INPUTS)
    assert jax.tree.map(jnp.shape, traced(ours)) == jax.tree.map(jnp.shape, variables)
    allowed = np.tril(np.ones((TOKENS, TOKENS), bool)) & SEEN[:, None, None, :]
    expected = apply(theirs, variables, INPUTS, mask=jnp.asarray(allowed) if masked else None)
    mask = Causal() & Padding(jnp.asarray(SEEN)) if masked else None
    np.testing.assert_allclose(apply(ours, variables, INPUTS, Seen(mask)).out, expected, rtol=0, atol=1e-6)


def test_kernels_are_drawn_and_biases_start_at_zero():
    layer = attention("scaled_dot", init_stddev=0.1, depth_scaled_init=True, num_layers=8)
    params = jax.jit(lambda key: layer.init(key, INPUTS, Seen()))(jax.random.key(0))["params"]
    for name, stddev in (("query", 0.1), ("key", 0.1), ("value", 0.1), ("out", 0.025)):
        assert float(params[name]["kernel"].std()) == pytest.approx(stddev, rel=0.25)
        assert (params[name]["bias"] == 0).all()


def test_each_key_head_serves_its_group_of_query_heads():
    grouped = attention("scaled_dot", num_heads=4, num_kv_heads=2)
    variables = random_variables(grouped, INPUTS, Seen())
    params = variables["params"]
    assert params["query"]["kernel"].shape == (WIDTH, 4, 3)
    assert params["key"]["kernel"].shape == params["value"]["kernel"].shape == (WIDTH, 2, 3)
    repeated = dict(params)
    for name in ("key", "value"):
        repeated[name] = {
            "kernel": jnp.repeat(params[name]["kernel"], 2, axis=1),
            "bias": jnp.repeat(params[name]["bias"], 2, axis=0),
        }
    ungrouped = attention("scaled_dot", num_heads=4)
    expected = apply(ungrouped, {"params": repeated}, INPUTS, Seen(Causal())).out
    np.testing.assert_allclose(apply(grouped, variables, INPUTS, Seen(Causal())).out, expected, rtol=0, atol=1e-6)


# The control looks at neither queries nor keys and a draw tells them nothing; bumps and Luong's locations go by place
# alone.
IDLE = {
    "uniform": {"query", "key"},
    "hard": {"query", "key"},
    "gmm": {"key"},
    "location": {"key"},
}


@pytest.mark.parametrize("variant", widely(SPECS))
def test_every_variant_has_its_arrays_in_the_layer_and_they_learn(variant):
    layer, mask = attention(variant), one_way(variant)
    variables = random_variables(layer, INPUTS, Seen(mask))
    sizes = Sizes(HEADS, HEADS, *[WIDTH // HEADS] * 3, length=TOKENS)
    trained, drawn = jax.eval_shape(lambda: init(variant, jax.random.key(0), sizes))
    own = {name for name in variables["params"] if name.startswith("variant_")}
    assert own == {f"variant_{name}" for name in trained}
    assert variables.get("buffers", {}).keys() == {f"variant_{name}" for name in drawn}
    inputs = {name for name in variables["params"] if name.startswith("input_")}
    assert inputs == {f"input_{name}" for name in lookup(variant).mechanism.per_token}

    def total(params: dict) -> tuple[jax.Array, jax.Array]:
        out = layer.apply({**variables, "params": params}, INPUTS, Seen(mask)).out
        return jnp.sum(jnp.sin(out)), out

    gradients, out = jax.jit(jax.grad(total, has_aux=True))(variables["params"])
    assert out.shape == INPUTS.shape
    assert bool(jnp.isfinite(out).all())
    # Of a projection its kernel: a bias of the keys adds the same to all logits of a query, which softmax does not see.
    learned = {name: tree.get("kernel", tree) if isinstance(tree, dict) else tree for name, tree in gradients.items()}
    largest = {
        name: min(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree)) for name, tree in learned.items()
    }
    assert {name for name, size in largest.items() if size == 0} == IDLE.get(lookup(variant).name, set())


def test_what_a_variant_takes_of_each_token_is_a_projection_of_it():
    layer = attention("kimi_delta:recipe=none", num_heads=4, num_kv_heads=2)
    variables = random_variables(layer, INPUTS, Seen(Causal()))
    params = variables["params"]
    assert params["input_beta"]["kernel"].shape == (WIDTH, 2)
    assert params["input_gate"]["kernel"].shape == (WIDTH, 2, 3)

    def projected(name: str) -> jax.Array:
        return jnp.einsum("btd,d...->bt...", INPUTS, params[name]["kernel"]) + params[name]["bias"]

    attended = attend(
        *(projected(name) for name in ("query", "key", "value")),
        variant="kimi_delta",
        params={name: params[f"variant_{name}"] for name in ("log_rate", "step_bias")},
        per_token={name: projected(f"input_{name}") for name in ("gate", "beta")},
        mask=Causal(),
    ).out
    expected = jnp.einsum("btnh,nhd->btd", attended, params["out"]["kernel"]) + params["out"]["bias"]
    np.testing.assert_allclose(apply(layer, variables, INPUTS, Seen(Causal())).out, expected, rtol=0, atol=1e-5)


def test_a_variant_of_the_past_alone_is_refused_without_a_causal_mask():
    with pytest.raises(Refused, match=r"^retention runs from the past to the future .* give mask=Causal\(\)"):
        traced(attention("retention"))


def test_drawn_arrays_depend_on_the_key_and_are_used_as_they_are():
    layer = attention("performer:features=4")
    draw = jax.jit(lambda seed: layer.init(jax.random.key(seed), INPUTS, Seen())["buffers"]["variant_projection"])
    assert draw(0).shape == (4, WIDTH // HEADS)
    assert float(jnp.abs(draw(0) - draw(1)).max()) > 0
    variables = random_variables(layer, INPUTS, Seen())
    doubled = {**variables, "buffers": jax.tree.map(lambda array: 2 * array, variables["buffers"])}
    mixed, updated = apply(layer, variables, INPUTS, Seen(), mutable=["buffers"])
    np.testing.assert_array_equal(updated["buffers"]["variant_projection"], variables["buffers"]["variant_projection"])
    assert float(jnp.abs(apply(layer, doubled, INPUTS, Seen()).out - mixed.out).max()) > 1e-3


def test_heads_that_do_not_divide_the_width_are_refused_with_a_number_that_does():
    with pytest.raises(Refused, match=r"^7 heads do not divide the width 12: .*such as 6\."):
        traced(attention("scaled_dot", num_heads=7))


def test_what_the_variant_cannot_do_is_refused_by_the_layer():
    layer = attention("linear", attention_dropout_rate=0.1)
    traced(layer)
    with pytest.raises(Refused, match="linear does not take dropout of weights"):
        traced(layer, deterministic=False)
    with pytest.raises(Refused, match="engine recurrence cannot run scaled_dot"):
        traced(attention("scaled_dot", engine="recurrence"))


def test_weights_drop_out_in_training_only():
    layer = attention("scaled_dot", attention_dropout_rate=0.5)
    variables = random_variables(layer, INPUTS, Seen())
    without = apply(attention("scaled_dot"), variables, INPUTS, Seen()).out
    np.testing.assert_array_equal(apply(layer, variables, INPUTS, Seen()).out, without)

    @jax.jit
    def dropped(seed: int) -> jax.Array:
        return layer.apply(variables, INPUTS, Seen(), deterministic=False, rngs={"dropout": jax.random.key(seed)}).out

    np.testing.assert_array_equal(dropped(0), dropped(0))
    assert float(jnp.abs(dropped(0) - without).max()) > 0.01
    assert float(jnp.abs(dropped(0) - dropped(1)).max()) > 0.01


@pytest.mark.parametrize("variant", [name for name in names() if lookup(name).claims.causal == "strict"])
def test_strictly_causal_variants_may_predict_the_next_token(variant):
    require_causal(variant, owner="model x")


def test_variants_that_are_not_causal_may_not_predict_the_next_token(tmp_path):
    with variant_file(tmp_path) as path:
        for approximate in (False, True):
            with pytest.raises(Refused, match=r"^model x predicts .*bidirectional_only has no causal form\. Use"):
                require_causal(f"{path}:bidirectional_only", owner="model x", approximate=approximate)
        with pytest.raises(Refused, match=r"leaky can leak it: .*set approximate_causal=True"):
            require_causal(f"{path}:leaky", owner="model x")
        require_causal(f"{path}:leaky", owner="model x", approximate=True)
