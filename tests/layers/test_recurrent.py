"""Recurrent layers: PyTorch's numbers (golden), padding, directions, carries, and the gradient of one product."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.base.errors import Refused
from attention_jax.layers.recurrent import CELLS, Recurrent, RecurrentOptions

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "layers" / "torch_recurrent.npz"
B, T, D, W = 3, 7, 5, 4
LENGTHS = np.array([7, 1, 4])


def options(cell, **given):
    return RecurrentOptions(**{"cell": cell, "width": W, "num_layers": 2, "bidirectional": True, **given})


def drawn(cell, **given):
    """Returns layers with parameters that are all drawn, biases too, and inputs."""
    module = Recurrent(options(cell, **given))
    inputs = jax.random.normal(jax.random.key(1), (B, T, D))
    shapes = jax.eval_shape(module.init, jax.random.key(0), inputs)
    leaves, tree = jax.tree.flatten(shapes)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    values = [0.5 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return module, jax.tree.unflatten(tree, values), inputs


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_outputs_carries_and_gradients_are_those_of_pytorch(cell):
    """Packed sequences of unequal length, two layers in both directions; tests/golden/packages/torch_recurrent.py."""
    with np.load(GOLDEN) as file:
        arrays = {name.removeprefix(f"{cell}/"): file[name] for name in file.files if name.startswith(f"{cell}/")}
    inputs, lengths, weighing = (jnp.asarray(arrays[name]) for name in ("inputs", "lengths", "weighing"))
    params, gradients = ({}, {})
    for name, array in arrays.items():
        for folder, tree in (("params/", params), ("gradients/", gradients)):
            if name.startswith(folder):
                layer, _, parameter = name.removeprefix(folder).partition("/")
                tree.setdefault(layer, {})[parameter] = jnp.asarray(array)
    module = Recurrent(options(cell, width=params["forward_1"]["recurrent_kernel"].shape[0]))

    def run(params):
        ran = module.apply({"params": params}, inputs, lengths=lengths)
        return jnp.sum(ran.outputs * weighing), ran

    (_, ran), found = jax.value_and_grad(run, has_aux=True)(params)
    np.testing.assert_allclose(ran.outputs, arrays["outputs"], atol=1e-6)
    np.testing.assert_allclose(np.stack([carry[0] for carry in ran.carries]), arrays["hidden"], atol=1e-6)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=3e-6), found, gradients)


def test_the_reset_gate_comes_before_the_product_where_it_is_published_so():
    """Cho et al. 2014, equations 5 to 8, by loops in float64."""
    module, variables, inputs = drawn("gru_reset_before", num_layers=1, bidirectional=False)
    given = {name: np.asarray(array, np.float64) for name, array in variables["params"]["forward_1"].items()}
    hidden, found = np.zeros((B, W)), np.zeros((B, T, W))
    for token in range(T):
        of_input = np.asarray(inputs[:, token], np.float64) @ given["input_kernel"] + given["input_bias"]
        kernel = given["recurrent_kernel"]
        reset = 1 / (1 + np.exp(-(of_input[:, :W] + hidden @ kernel[:, :W])))
        update = 1 / (1 + np.exp(-(of_input[:, W : 2 * W] + hidden @ kernel[:, W : 2 * W])))
        candidate = np.tanh(of_input[:, 2 * W :] + (reset * hidden) @ kernel[:, 2 * W :])
        hidden = update * hidden + (1 - update) * candidate
        found[:, token] = hidden
    np.testing.assert_allclose(module.apply(variables, inputs).outputs, found, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_of_one_product_is_that_of_the_loop(cell):
    module, variables, inputs = drawn(cell)

    def of_both(variables, inputs):
        return jnp.sum(jnp.sin(module.apply(variables, inputs, lengths=LENGTHS).outputs))

    def by_step(variables, inputs):
        """The same layers, one row and token at a time, whose gradient JAX derives through each step."""
        total = 0.0
        for row, length in enumerate(LENGTHS):
            layer = inputs[row : row + 1, :length]
            for number in (1, 2):
                outputs = []
                for direction in ("forward", "backward"):
                    params = {"params": {"forward_1": variables["params"][f"{direction}_{number}"]}}
                    alone = Recurrent(options(cell, num_layers=1, bidirectional=False))
                    tokens, carries = layer if direction == "forward" else layer[:, ::-1], None
                    steps = []
                    for token in range(length):
                        ran = alone.apply(params, tokens[:, token : token + 1], carries=carries)
                        carries = ran.carries
                        steps.append(ran.outputs)
                    made = jnp.concatenate(steps, axis=1)
                    outputs.append(made if direction == "forward" else made[:, ::-1])
                layer = jnp.concatenate(outputs, axis=-1)
            total += jnp.sum(jnp.sin(layer))
        return total

    found, expected = (jax.value_and_grad(function, (0, 1))(variables, inputs) for function in (of_both, by_step))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-5), found, expected)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_is_zero_and_touches_nothing(cell):
    module, variables, inputs = drawn(cell)
    ran = module.apply(variables, inputs, lengths=LENGTHS)
    padding = np.arange(T)[None] >= LENGTHS[:, None]
    assert not np.asarray(ran.outputs)[padding].any()
    loud = jnp.where(padding[..., None], 1e3, inputs)
    again = module.apply(variables, loud, lengths=LENGTHS)
    jax.tree.map(np.testing.assert_array_equal, again, ran)
    short = module.apply(variables, inputs[2:, :4])
    np.testing.assert_allclose(ran.outputs[2:, :4], short.outputs, atol=1e-6)
    np.testing.assert_allclose(ran.last(2)[2:], short.last(2), atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_carries_go_on_where_tokens_before_stopped(cell):
    module, variables, inputs = drawn(cell, bidirectional=False)
    whole = module.apply(variables, inputs)
    first = module.apply(variables, inputs[:, :3])
    second = module.apply(variables, inputs[:, 3:], carries=first.carries)
    np.testing.assert_allclose(jnp.concatenate([first.outputs, second.outputs], 1), whole.outputs, atol=1e-6)
    np.testing.assert_array_equal(whole.last(), whole.outputs[:, -1])


def test_dropout_is_between_layers_alone():
    module, variables, inputs = drawn("gru", dropout_rate=0.5)
    run = {"deterministic": False, "rngs": {"dropout": jax.random.key(0)}}
    assert not np.array_equal(module.apply(variables, inputs, **run).outputs, module.apply(variables, inputs).outputs)
    module, variables, inputs = drawn("gru", dropout_rate=0.5, num_layers=1)
    again = module.apply(variables, inputs, **run)
    np.testing.assert_array_equal(again.outputs, module.apply(variables, inputs).outputs)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cell": "lstmm"}, "no recurrent cell 'lstmm'.*lstm"),
        ({"width": 0}, "width=0: give at least 1"),
        ({"num_layers": 0}, "num_layers=0"),
        ({"dropout_rate": 1.0}, "dropout_rate=1.0"),
    ],
)
def test_bad_options_are_refused(given, message):
    with pytest.raises(Refused, match=message):
        RecurrentOptions(**given)
