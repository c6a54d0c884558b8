"""Pointer networks: the forward pass by loops in float64, padding, steps, tokens and points, other scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.base.errors import Refused
from attention_jax.decoding import advance_of
from attention_jax.decoding.protocol import of_hypotheses
from tests.layers.arrays import apply, random_variables
from tests.models.test_bidaf import bilstm, softmax
from tests.models.test_pointer_generator import last_carry, one_step

# The oracle's LSTM has width 3 in each direction; the decoder's is twice as wide.
W, D = 3, 4
FACTS = {"vocabulary_size": 9, "target_length": 5, "begin": 0, "end": 0}
SIZES = {"width": D, "encoder": {"width": W, "bidirectional": True}, "decoder": {"width": 2 * W}}
BATCH = {
    "source": np.array([[4, 1, 5, 8], [7, 6, 0, 0], [5, 0, 0, 0]], np.int32),
    "source_lengths": np.array([4, 2, 1], np.int32),
    "inputs": np.array([[0, 2, 1, 4], [0, 1, 2, 0], [0, 1, 0, 0]], np.int32),
    "target_lengths": np.array([4, 3, 2], np.int32),
}
POINTS = {**BATCH, "points": np.random.default_rng(0).random((3, 4, 2)).astype(np.float32)}
del POINTS["source"]


def built(**options):
    return models.build("pointer_network", facts={**FACTS, **options.pop("facts", {})}, **{**SIZES, **options})


def expected(row, params):
    items = params["item"]["embedding"][BATCH["source"][row, : BATCH["source_lengths"][row]]]
    memory = np.concatenate([params["last"][None], bilstm(items, params["encode"], 1)])
    ends = [
        last_carry(order, params["encode"][name]) for name, order in (("forward_1", items), ("backward_1", items[::-1]))
    ]
    carry = [np.concatenate([one[part] for one in ends]) for part in (0, 1)]
    items = np.concatenate([params["first"][None], items])
    point, found = {name.removeprefix("aligned_"): array for name, array in params["point"].items()}, []
    for place in BATCH["inputs"][row, : BATCH["target_lengths"][row]]:
        carry = one_step(items[place], carry, params["decode"]["forward_1"])
        scores = [np.tanh(carry[0] @ point["query"][0] + one @ point["key"][0]) @ point["value"][0] for one in memory]
        found.append(softmax(np.array(scores)))
    return np.stack(found)


def test_it_is_what_the_paper_says():
    model = built()
    variables = random_variables(model, **BATCH)
    params = jax.tree.map(lambda array: np.asarray(array, np.float64), variables["params"])
    found = jax.nn.softmax(apply(model, variables, **BATCH))
    for row, (source, target) in enumerate(zip(BATCH["source_lengths"], BATCH["target_lengths"], strict=True)):
        np.testing.assert_allclose(found[row, :target, : source + 1], expected(row, params), rtol=1e-4, atol=1e-6)
        assert not found[row, :, source + 1 :].any()


@pytest.mark.parametrize("batch", [BATCH, POINTS], ids=["tokens", "points"])
def test_padding_touches_nothing_and_gradients_are_finite(batch):
    model = built(facts={"vocabulary_size": 9 if "source" in batch else 0}, pointer="general")
    variables = random_variables(model, **batch)
    kind = "source" if "source" in batch else "points"

    def with_padding(value):
        real = np.arange(4) < batch["source_lengths"][:, None]
        real = real.reshape(*real.shape, *[1] * (batch[kind].ndim - 2))
        return {**batch, kind: np.where(real, batch[kind], value).astype(batch[kind].dtype)}

    real = np.arange(4) < batch["target_lengths"][:, None]

    def loss(params, arrays):
        found = jax.nn.log_softmax(model.apply({"params": params}, **arrays))
        return jnp.where(real, found[..., 0], 0).sum(), jnp.where(real[..., None], found, 0)

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, found), gradients = run(variables["params"], with_padding(0))
    (_, others), other_gradients = run(variables["params"], with_padding(8))
    np.testing.assert_allclose(found, others, atol=1e-5)
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(other_gradients), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_steps_are_the_rows_of_one_pass_for_several_continuations_too():
    model = built()
    variables = random_variables(model, **BATCH)
    whole = apply(model, variables, **BATCH)
    advance = advance_of(model, variables)
    source = {name: array for name, array in BATCH.items() if name.startswith("source")}
    state = model.apply(variables, **source, method="start")
    logits, state = advance(state, BATCH["inputs"][:, :1], np.ones(3, np.int32))
    np.testing.assert_allclose(logits, whole[:, 0], atol=1e-5)
    # Two continuations of each, of which the second is what the pass has read.
    state = of_hypotheses(lambda leaf: jnp.repeat(leaf, 2, axis=0), state)
    tokens = np.stack([np.zeros(3, np.int32), BATCH["inputs"][:, 1]], axis=1).reshape(-1, 1)
    logits, _ = advance(state, tokens, np.ones(6, np.int32))
    np.testing.assert_allclose(logits[1::2], whole[:, 1], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "batch", "message"),
    [
        ({"decoder": {"width": W}}, BATCH, r"^model\.decoder\.width=3 does not go on .* use 6\."),
        ({"decoder": {"width": 2 * W, "cell": "gru"}}, BATCH, r"^model\.decoder\.cell='gru' does not"),
        ({"decoder": {"width": 2 * W, "bidirectional": True}}, BATCH, r"^model\.decoder\.bidirectional=True would"),
        ({}, POINTS, r"reads 'source' of this data, and it is not in the batch"),
        ({"pointer": "linear"}, BATCH, "logits"),
    ],
)
def test_what_cannot_be_is_refused(options, batch, message):
    model = built(**options)
    with pytest.raises(Refused, match=message):
        jax.eval_shape(lambda: model.init(jax.random.key(0), **batch))
