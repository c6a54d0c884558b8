"""What optimizers clip, decay, take for a matrix, keep of each parameter and refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attention_jax import models
from attention_jax.contract.cases import quick_jit
from attention_jax.kernels import Refused
from attention_jax.layers.paths import path_of
from attention_jax.training.optimizer import build_optimizer, decays, matrix_axes, optimizers
from tests.training.parameters import HIDDEN, SCANNED, WIDTH, drawn, flat

STEPS = 8


@pytest.mark.parametrize(
    ("path", "shape", "inputs", "outputs"),
    [
        (("block_0", "attention", "key"), (8, 2, 4), (-3,), (-2, -1)),
        (("block_0", "cross_attention", "value"), (8, 2, 4), (-3,), (-2, -1)),
        (("block_0", "attention", "input_channel"), (8, 2, 4), (-3,), (-2, -1)),
        (("block_0", "attention", "input_head"), (8, 2), (-2,), (-1,)),
        (("block_0", "attention", "out"), (2, 4, 8), (-3, -2), (-1,)),
        (("block_0", "convolution"), (3, 8, 8), (-3, -2), (-1,)),
        (("blocks", "attention", "key"), (5, 8, 2, 4), (-3,), (-2, -1)),
        (("blocks", "attention", "out"), (5, 2, 4, 8), (-3, -2), (-1,)),
        (("blocks", "feed_forward", "out"), (5, 16, 8), (-2,), (-1,)),
    ],
)
def test_the_matrix_in_a_kernel_is_from_inputs_to_outputs(path, shape, inputs, outputs):
    tree = jnp.zeros(shape)
    for name in ("kernel", *reversed(path)):
        tree = {name: tree}
    (axes,) = jax.tree.leaves(matrix_axes(tree), is_leaf=lambda x: isinstance(x, tuple))
    assert axes == (inputs, outputs)


@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_lowers_a_loss(name):
    inputs, outputs = np.random.default_rng(0).normal(size=(2, 32, WIDTH)).astype(np.float32)
    options = {"rates": (("norm/.*", 0.5),), "layer_decay": 0.9, "schedule": {"name": "wsd", "warmup_steps": 5}}
    optimizer, _ = build_optimizer(steps=50, name=name, learning_rate=0.05, freeze=("norm/scale",), **options)
    kernels = {"hidden": {"kernel": (WIDTH, HIDDEN)}, "out": {"kernel": (HIDDEN, WIDTH)}}
    params = drawn(0, {"block_0": kernels, "norm": {"scale": (WIDTH,), "bias": (WIDTH,)}})

    def loss(params):
        hidden = jnp.tanh(inputs @ params["block_0"]["hidden"]["kernel"]) @ params["block_0"]["out"]["kernel"]
        return jnp.mean((hidden * params["norm"]["scale"] + params["norm"]["bias"] - outputs) ** 2)

    def step(carry, _):
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), value

    _, losses = quick_jit(lambda: jax.lax.scan(step, (params, optimizer.init(params)), length=50))()
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize(("clip_norm", "expected"), [(None, 5.0), (1.0, 1.0), (7.0, 5.0)])
def test_gradients_are_scaled_down_to_the_norm_that_is_set(clip_norm, expected):
    updates = clipped({"a": [3.0], "b": [[0.0, 4.0]]}, clip_norm=clip_norm)
    np.testing.assert_allclose(updates["a"], [-3 * expected / 5], rtol=1e-6)
    np.testing.assert_allclose(updates["b"], [[0, -4 * expected / 5]], rtol=1e-6)


def test_entries_are_clipped_before_the_norm_is_taken():
    gradients = {"a": [-30.0], "b": [[0.5, 4.0]]}
    np.testing.assert_array_equal(clipped(gradients, clip_norm=None, clip_value=3.0)["b"], [[-0.5, -3]])
    # (-3, 0, 4) has the norm 5.
    both = clipped({"a": [-3.0], "b": [[0.0, 400.0]]}, clip_norm=1.0, clip_value=4.0)
    np.testing.assert_allclose([*both["a"], *both["b"][0]], [0.6, 0, -0.8], rtol=1e-6)


def clipped(gradients, **options):
    """Returns minus what plain descent takes gradients for."""
    optimizer, _ = build_optimizer(steps=STEPS, name="sgd", learning_rate=1.0, schedule={"name": "constant"}, **options)
    gradients = {name: jnp.array(value) for name, value in gradients.items()}
    return optimizer.update(gradients, optimizer.init(gradients), gradients)[0]


@pytest.mark.parametrize("name", optimizers.names())
def test_weight_decay_shrinks_kernels_and_embeddings_only(name):
    facts = {"vocabulary_size": 5, "length": 4}
    model = models.build("gpt", facts=facts, attention="additive", num_layers=1, num_heads=2, width=8, use_bias=True)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32)))["params"]
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), params)
    optimizer, _ = build_optimizer(
        steps=STEPS, name=name, learning_rate=0.1, weight_decay=0.5, schedule={"name": "constant"}
    )
    still = jax.tree.map(jnp.zeros_like, params)
    updates = flat(quick_jit(lambda: optimizer.update(still, optimizer.init(params), params)[0])())
    shrunk = {path for path, update in updates.items() if (update != 0).any()}
    layers = {f"attention/{layer}" for layer in ("query", "key", "value", "out")}
    layers |= {f"feed_forward/{layer}" for layer in ("hidden", "out")}
    assert shrunk == {f"block_0/{layer}/kernel" for layer in layers} | {"token/embedding", "position/embedding"}
    for path in shrunk:
        np.testing.assert_allclose(updates[path], -0.1 * 0.5, rtol=1e-6, err_msg=path)
    # Arrays of the variant are there and are among those that stay.
    assert "block_0/attention/variant_query" in updates


def test_what_decays_is_known_by_its_name_and_not_by_its_shape():
    params = {"dense": {"kernel": jnp.ones(2), "bias": jnp.ones((2, 2))}, "class_token": jnp.ones((1, 1, 2))}
    assert decays(params) == {"dense": {"kernel": True, "bias": False}, "class_token": False}


# How many arrays each optimizer keeps of a parameter; muon has one moment of the kernels of blocks.
MOMENTS = {"adafactor": 3, "adamw": 2, "lion": 1, "muon": 2, "sgd": 1}


@pytest.mark.parametrize("name", optimizers.names())
@pytest.mark.parametrize("freeze", [(), ("token/.*", "blocks/attention/.*")])
def test_a_mesh_can_know_which_arrays_of_the_state_are_of_which_parameter(name, freeze):
    options = {"momentum": 0.9} if name == "sgd" else {}
    optimizer, _ = build_optimizer(
        steps=STEPS, name=name, rates=(("head/.*", 0.1),), layer_decay=0.9, freeze=freeze, **options
    )
    params = drawn(0, SCANNED)
    state = jax.eval_shape(optimizer.init, params)
    found: dict[str, list[tuple[int, ...]]] = {}
    others = []

    def note(leaf, path):
        if not isinstance(leaf, optax.MaskedNode):
            found.setdefault(path, []).append(leaf.shape)

    optax.tree_utils.tree_map_params(
        optimizer,
        note,
        state,
        jax.tree_util.tree_map_with_path(lambda keys, _: path_of(keys), params),
        transform_non_params=lambda leaf: others.append(leaf.shape),
        is_leaf=lambda leaf: isinstance(leaf, optax.MaskedNode),
    )
    for path, leaf in flat(params).items():
        frozen = bool(freeze) and path.startswith(("token/", "blocks/attention/"))
        moments = 1 if name == "muon" and path.startswith("blocks/") and path.endswith("/kernel") else MOMENTS[name]
        # Adafactor's rows and columns, of a matrix that is too small to factor, are one number each.
        shapes = [(1,), (1,), leaf.shape] if name == "adafactor" else [leaf.shape] * moments
        assert found.get(path, []) == ([] if frozen else shapes), path
    # Steps that were counted, and muon's coefficients.
    assert set(others) <= {(), (3,)}
    # The paths in the state tell the same.
    owned = [path for path in flat(state) if path.endswith(tuple(flat(params)))]
    assert len(owned) == sum(map(len, found.values()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "adam"}, r"^there is no optimizer 'adam'\. Did you mean 'adamw'\?$"),
        ({"beta1": 0.9}, r"^optimizer 'adamw' has no option 'beta1' \(given 0\.9\)\. Did you mean 'b1'\?$"),
        ({"name": "lion", "eps": 0.1}, r"^optimizer 'lion' has no option 'eps'"),
        ({"name": "sgd", "nesterov": True}, r"^optimizer\.nesterov=True changes nothing without momentum: set"),
        ({"learning_rate": -1.0}, r"^optimizer\.learning_rate=-1\.0: give a number of at least 0"),
        ({"clip_norm": 0.0}, r"^optimizer\.clip_norm=0\.0: give a number above 0, or None"),
        ({"clip_value": -1.0}, r"^optimizer\.clip_value=-1\.0: give a number above 0, or None"),
        ({"b1": 1.0}, r"^optimizer\.b1=1\.0: give the share that a moment keeps, in \[0, 1\)"),
        ({"name": "sgd", "momentum": -0.1}, r"^optimizer\.momentum=-0\.1: give the share"),
        ({"weight_decay": -0.1}, r"^optimizer\.weight_decay=-0\.1: give a number of at least 0"),
    ],
)
def test_what_cannot_be_used_is_refused(options, message):
    with pytest.raises(Refused, match=message):
        build_optimizer(steps=STEPS, **options)
