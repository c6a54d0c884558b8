"""Memory networks: the forward pass by loops in float64 from the paper's equations, padding, and other attentions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.base.errors import Refused
from attention_jax.layers.attention import LOOKED_AT
from tests.layers.arrays import apply, random_variables

V, D = 9, 4
FACTS = {"vocabulary_size": V, "num_classes": V, "story_length": 5}
BATCH = {
    "story": np.array([[[1, 2, 3], [4, 5, 0], [6, 2, 8]], [[7, 2, 0], [0, 0, 0], [0, 0, 0]]], np.int32),
    "question": np.array([[3, 6], [7, 0]], np.int32),
    "story_lengths": np.array([3, 1], np.int32),
}


def built(**options):
    return models.build("memory_network", facts=FACTS, **{"width": D, "hops": 2, **options})


def sentence(words, table):
    words = [word for word in words if word]
    vector = np.zeros(D)
    for j, word in enumerate(words, start=1):
        for k in range(1, D + 1):
            share = (1 - j / len(words)) - k / D * (1 - 2 * j / len(words))
            vector[k - 1] += share * table[word][k - 1]
    return vector


def expected(row, params, tying):
    tables = [params[f"words_{number}"]["embedding"] for number in range(3)]
    asked = sentence(BATCH["question"][row], tables[0 if tying == "adjacent" else 2])
    count = BATCH["story_lengths"][row]
    for hop in range(2):
        sides = []
        for number in (hop, hop + 1) if tying == "adjacent" else (0, 1):
            times = params[f"times_{number}"]
            sides.append(
                [sentence(BATCH["story"][row, i], tables[number]) + times[count - 1 - i] for i in range(count)]
            )
        scores = np.exp([asked @ one for one in sides[0]])
        out = sum(score * one for score, one in zip(scores / scores.sum(), sides[1], strict=True))
        asked = (asked if tying == "adjacent" else asked @ params["between"]["kernel"]) + out
    return tables[2] @ asked if tying == "adjacent" else asked @ params["answer"]["kernel"]


@pytest.mark.parametrize("tying", ["adjacent", "layer_wise"])
def test_it_is_what_the_paper_says(tying):
    model = built(tying=tying)
    variables = random_variables(model, **BATCH)
    params = jax.tree.map(lambda array: np.asarray(array, np.float64), variables["params"])
    found = apply(model, variables, **BATCH)
    for row in range(2):
        np.testing.assert_allclose(found[row], expected(row, params, tying), rtol=1e-4, atol=1e-5)


def test_a_bag_of_words_has_no_order_and_positions_have():
    swapped = {**BATCH, "story": BATCH["story"][:, :, [1, 0, 2]]}
    for encoding, same in (("bag", True), ("position", False)):
        model = built(encoding=encoding)
        variables = random_variables(model, **BATCH)
        one, other = (apply(model, variables, **arrays) for arrays in (BATCH, swapped))
        assert np.allclose(one, other, atol=1e-5) == same


def test_padding_touches_nothing_and_a_story_of_no_sentence_is_finite():
    model = built()
    variables = random_variables(model, **BATCH)
    real = np.arange(3) < BATCH["story_lengths"][:, None]

    def loss(params, story, lengths):
        logits = model.apply({"params": params}, story, BATCH["question"], story_lengths=lengths)
        return jax.nn.log_softmax(logits)[:, 0].sum(), logits

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, found), gradients = run(variables["params"], BATCH["story"], BATCH["story_lengths"])
    loud = np.where(real[..., None], BATCH["story"], 5)
    (_, others), other_gradients = run(variables["params"], loud, BATCH["story_lengths"])
    np.testing.assert_allclose(found, others, atol=1e-5)
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(other_gradients), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    (_, of_none), gradients = run(variables["params"], BATCH["story"], np.zeros(2, np.int32))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((of_none, gradients)))


def test_each_hop_is_looked_at_and_takes_any_attention():
    model = built(attention="additive", temporal=False, dropout_rate=0.1)
    variables = random_variables(model, **BATCH)
    _, sown = model.apply(variables, **BATCH, mutable=[LOOKED_AT])
    for hop in ("hop_1", "hop_2"):
        (weights,) = sown[LOOKED_AT][hop]["weights"]
        assert weights.dtype == jnp.float32
        np.testing.assert_allclose(weights.sum(-1), np.ones((2, 1, 1)), rtol=1e-5)
        assert not weights[1, ..., 1:].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tying": "layerwise"}, r"^model\.tying='layerwise' .* Did you mean 'layer_wise'\?"),
        ({"encoding": "order"}, r"^model\.encoding='order' is none of position, bag"),
        ({"hops": 0}, r"^model\.hops=0: give at least 1"),
        ({"num_classes": 3}, r"the 9 words, and there are 3 classes: use model\.tying='layer_wise'"),
        ({"story_length": 2}, r"^a story has 3 sentences, more than story_length=2"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(options, message):
    model = built(**options)
    with pytest.raises(Refused, match=message):
        jax.eval_shape(lambda: model.init(jax.random.key(0), **BATCH))
