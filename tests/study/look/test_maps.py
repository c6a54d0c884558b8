"""Attention maps: those that the kernels give, of every layer, and never paid for in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.kernels import Causal, attend
from attention_jax.layers import Attention, Seen, StackOptions
from attention_jax.layers.attention import LOOKED_AT
from attention_jax.study.look.maps import attention_maps, entropies, mean_distances, rollout
from attention_jax.training import Experiment
from tests.launch.command_line import RECALL

TOKENS = jnp.array([[3, 1, 4, 1, 5, 2]])
FACTS = {"vocabulary_size": 6, "length": 8}


def gpt(**options):
    return models.build("gpt", facts=FACTS, **{"num_layers": 2, "num_heads": 2, "width": 8, **options})


def drawn(model):
    return jax.jit(model.init)(jax.random.key(1), inputs=TOKENS)


def test_the_weights_are_those_of_the_kernel():
    options = StackOptions(num_layers=1, num_heads=2, width=8)
    layer = Attention("scaled_dot", options)
    inputs = jax.random.normal(jax.random.key(0), (1, 5, 8))
    variables = jax.jit(lambda: layer.init(jax.random.key(1), inputs, Seen(Causal())))()
    assert LOOKED_AT not in variables

    @jax.jit
    def looked_at(variables):
        return layer.apply(variables, inputs, Seen(Causal()), mutable=[LOOKED_AT])

    mixed, found = looked_at(variables)
    params = variables["params"]
    query, key, value = (
        jnp.einsum("btd,dnh->btnh", inputs, params[name]["kernel"]) + params[name].get("bias", 0)
        for name in ("query", "key", "value")
    )
    expected = attend(query, key, value, mask=Causal(), outputs=("weights",)).weights
    (weights,) = found[LOOKED_AT]["weights"]
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    np.testing.assert_allclose(mixed.out, jax.jit(layer.apply)(variables, inputs, Seen(Causal())).out, atol=1e-6)


def test_a_training_step_is_the_same_as_one_without_it(monkeypatch):
    def lowered() -> str:
        experiment = Experiment(**{**RECALL, "evaluation": {}, "checkpoint": {}})
        arguments = (experiment.abstract_state, experiment.abstract_batch, experiment.abstract_rate)
        return experiment.train_step.lower(*arguments).as_text()

    there = lowered()
    monkeypatch.setattr(Attention, "is_mutable_collection", lambda self, name: False)
    assert lowered() == there


def test_layers_that_are_scanned_over_have_the_maps_of_those_that_are_not():
    scanned, unrolled = gpt(scan_layers=True), gpt()
    variables = drawn(scanned)
    params = dict(variables["params"])
    blocks = params.pop("blocks")
    params |= {f"block_{layer}": jax.tree.map(lambda array, at=layer: array[at], blocks) for layer in range(2)}
    ours = attention_maps(scanned, variables, {"inputs": TOKENS})
    theirs = attention_maps(unrolled, {**variables, "params": params}, {"inputs": TOKENS})
    assert [one.layer for one in ours] == [1, 2]
    for one, other in zip(ours, theirs, strict=True):
        assert one.weights.shape == (2, 6, 6)
        assert (np.triu(one.weights[0], 1) == 0).all()
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-6)
    assert not np.allclose(ours[0].weights, ours[1].weights)


def test_layers_that_share_parameters_have_a_map_each():
    model = gpt(layer_groups=1)
    first, second = attention_maps(model, drawn(model), {"inputs": TOKENS})
    assert not np.allclose(first.weights, second.weights)


def test_a_variant_that_forms_no_weights_has_none_and_tells_what_it_has():
    model = gpt(attention=("gated_delta_net", "scaled_dot"))
    first, second = attention_maps(model, drawn(model), {"inputs": TOKENS})
    assert (first.variant, first.weights, first.shares) == ("gated_delta_net", None, None)
    assert {name: array.shape for name, array in first.told.items()} == dict.fromkeys(
        ("decay", "strength", "state"), (2, 6)
    )
    assert ((first.told["decay"] > 0) & (first.told["decay"] < 1)).all()
    assert (first.told["state"] > 0).all()
    assert second.weights.shape == (2, 6, 6)
    assert (second.shares, second.told) == (None, {})


@pytest.mark.parametrize(
    ("variant", "names"),
    [
        ("delta_product:steps=3", {"given_beta", "given_keys", "given_values", "state"}),
        ("nsa:length=2,stride=1,block=1,selected=4,window=2", {"given_gates"}),
    ],
)
def test_what_a_variant_takes_of_each_token_is_told_as_it_comes(variant, names):
    model = gpt(attention=variant, num_layers=1)
    found = jax.eval_shape(
        lambda variables: model.apply(variables, TOKENS, mutable=[LOOKED_AT])[1],
        jax.eval_shape(model.init, jax.random.key(0), TOKENS),
    )
    told = found[LOOKED_AT]["block_0"]["attention"]
    assert {name: array.shape for name, (array,) in told.items()} == dict.fromkeys(names, (1, 2, 6))


def test_blocks_that_are_chosen_by_content_are_told_by_the_values_that_come_out():
    model = gpt(attention="moba:block=2,top_k=1", scan_layers=True)
    for one in attention_maps(model, drawn(model), {"inputs": TOKENS}):
        assert (one.weights, one.told) == (None, {})
        np.testing.assert_allclose(one.shares.sum(-1), 1, atol=1e-5)
        assert (np.triu(one.shares[0], 1) == 0).all()
        # Its own block of two keys is all that a query sees.
        assert ((np.abs(one.shares) > 1e-6).sum(-1) == [1, 2] * 3).all()


def test_a_decoder_has_maps_of_itself_and_of_the_source():
    stack = {"num_layers": 1, "num_heads": 2, "width": 8}
    facts = {"vocabulary_size": 6, "source_length": 8, "target_length": 8, "begin": 1, "end": 2}
    model = models.build("transformer", facts=facts, encoder=stack, decoder=stack)
    arrays = {"source": TOKENS, "inputs": TOKENS[:, :4]}
    variables = jax.jit(model.init)(jax.random.key(1), **arrays)
    maps = attention_maps(model, variables, arrays)
    assert [(one.part, one.weights.shape) for one in maps] == [
        ("encoder self-attention", (2, 6, 6)),
        ("decoder self-attention", (2, 4, 4)),
        ("decoder cross-attention", (2, 4, 6)),
    ]


def test_entropies():
    weights = np.stack([np.full((3, 4), 1 / 4), np.eye(3, 4)])
    np.testing.assert_allclose(entropies(weights), [np.log(4), 0])


def test_mean_distances_leave_out_what_stands_nowhere():
    places = np.array([[np.nan, np.nan], [0, 0], [3, 4]])
    same, other = np.eye(3), np.array([[0, 1, 0], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    np.testing.assert_allclose(mean_distances(np.stack([same, other]), places), [0, 5])


@pytest.mark.parametrize("layers", [1, 3])
def test_rollout(layers):
    one = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 1]]])
    # The mean of the heads passes 1/2 of the first token on to the second, of which the residual halves the rest.
    expected = np.linalg.matrix_power(np.array([[1, 0], [0.25, 0.75]]), layers)
    np.testing.assert_allclose(rollout([one] * layers), expected)
