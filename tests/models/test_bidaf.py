"""BiDAF: its forward pass by loops in float64 from the paper's equations, padding, other pair mechanisms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.base.errors import Refused
from attention_jax.layers.attention import LOOKED_AT
from tests.layers.arrays import apply, random_variables

W = 3
LSTM = {"width": W, "bidirectional": True}
FACTS = {"vocabulary_size": 11, "passage_length": 7, "character_vocabulary_size": 6}
SIZES = {"width": 4, "filters": 2, "highways": 1, "encoder": LSTM, "modelling": {**LSTM, "num_layers": 2}}
RNG = np.random.default_rng(0)
BATCH = {
    "passage": RNG.integers(11, size=(3, 7)).astype(np.int32),
    "question": RNG.integers(11, size=(3, 4)).astype(np.int32),
    "passage_lengths": np.array([7, 1, 4], np.int32),
    "question_lengths": np.array([2, 4, 1], np.int32),
    "passage_characters": RNG.integers(6, size=(3, 7, 3)).astype(np.int32),
    "question_characters": RNG.integers(6, size=(3, 4, 3)).astype(np.int32),
}
# Characters end with 0: none stands behind one.
for _name in ("passage_characters", "question_characters"):
    BATCH[_name] *= np.cumprod(BATCH[_name] > 0, axis=-1)


def built(**options):
    return models.build("bidaf", facts=FACTS, **{**SIZES, **options})


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def lstm(inputs, params):
    """Gates: input, forget, candidate, output."""
    hidden = cell = np.zeros(W)
    found = []
    for token in inputs:
        gates = token @ params["input_kernel"] + params["input_bias"] + hidden @ params["recurrent_kernel"]
        write, keep, candidate, show = np.split(gates, 4)
        cell = sigmoid(keep) * cell + sigmoid(write) * np.tanh(candidate)
        hidden = sigmoid(show) * np.tanh(cell)
        found.append(hidden)
    return np.stack(found)


def bilstm(inputs, params, layer):
    forward, backward = lstm(inputs, params[f"forward_{layer}"]), lstm(inputs[::-1], params[f"backward_{layer}"])[::-1]
    return np.concatenate([forward, backward], axis=1)


def word(token, characters, params):
    spelt = [params["character"]["embedding"][one] for one in characters if one]
    places = []
    for place in range(len(spelt) + 4 if spelt else 0):
        seen = [spelt[k] if 0 <= k < len(spelt) else np.zeros(8) for k in range(place - 4, place + 1)]
        inner = np.concatenate(seen) @ params["filters"]["kernel"] + params["filters"]["bias"]
        places.append(np.maximum(inner, 0))
    x = np.concatenate([params["token"]["embedding"][token], np.max(places, axis=0) if places else np.zeros(2)])
    change, gate = (x @ params[f"{name}_1"]["kernel"] + params[f"{name}_1"]["bias"] for name in ("transform", "carry"))
    return sigmoid(gate) * np.maximum(change, 0) + (1 - sigmoid(gate)) * x


def expected(row, params):
    """Returns the probabilities of the start and of the end, [T, 2]."""
    h, u = (
        bilstm(np.stack([word(*both, params["words"]) for both in zip(*of, strict=True)]), params["encoder"], 1)
        for of in (
            [BATCH[f"{text}{kind}"][row, : BATCH[f"{text}_lengths"][row]] for kind in ("", "_characters")]
            for text in ("passage", "question")
        )
    )
    weight = np.concatenate([params["flow"][f"pair_{name}"] for name in ("first", "second", "product")])
    s = np.array([[weight @ np.concatenate([one, other, one * other]) for other in u] for one in h])
    asked = np.stack([softmax(line) @ u for line in s])
    told = softmax(s.max(1)) @ h
    g = np.concatenate([h, asked, h * asked, h * told], axis=1)
    m = bilstm(bilstm(g, params["modelling"], 1), params["modelling"], 2)
    after = bilstm(m, params["before_end"], 1)
    ends = []
    for name, hidden in (("start", m), ("end", after)):
        logits = np.concatenate([g, hidden], axis=1) @ params[name]["kernel"] + params[name]["bias"]
        ends.append(softmax(logits[:, 0]))
    return np.stack(ends, axis=1)


def test_it_is_what_the_paper_says():
    model = built()
    variables = random_variables(model, **BATCH)
    params = jax.tree.map(lambda array: np.asarray(array, np.float64), variables["params"])
    found = jax.nn.softmax(apply(model, variables, **BATCH), axis=1)
    for row, length in enumerate(BATCH["passage_lengths"]):
        np.testing.assert_allclose(found[row, :length], expected(row, params), rtol=1e-4, atol=1e-6)
        assert not found[row, length:].any()


@pytest.mark.parametrize("name", ["bidaf", "external_query"])
def test_padding_touches_nothing_and_gradients_are_finite(name):
    options = SIZES if name == "bidaf" else {**SIZES, "hidden": 4}
    options = {key: value for key, value in options.items() if name == "bidaf" or key != "modelling"}
    model = models.build(name, facts=FACTS, **options)
    variables = random_variables(model, **BATCH)
    lengths = {text: BATCH[f"{text}_lengths"] for text in ("passage", "question")}

    def with_padding(token):
        arrays = dict(BATCH)
        for text, of in lengths.items():
            padding = np.arange(BATCH[text].shape[1]) >= of[:, None]
            arrays[text] = np.where(padding, token, BATCH[text])
            arrays[f"{text}_characters"] = np.where(padding[..., None], token % 6, BATCH[f"{text}_characters"])
        return arrays

    def loss(params, arrays):
        logits = model.apply({"params": params}, **arrays)
        return jax.nn.log_softmax(logits, axis=1)[:, 0].sum(), logits

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, found), gradients = run(variables["params"], with_padding(10))
    (_, others), other_gradients = run(variables["params"], with_padding(0))
    np.testing.assert_allclose(found, others, atol=1e-5)
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(other_gradients), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_it_has_no_array_of_pairs_of_tokens_that_is_wider_than_one():
    model = models.build("bidaf", facts={**FACTS, "passage_length": 37}, **SIZES)
    passage, question = jnp.zeros((2, 37), jnp.int32), jnp.zeros((2, 29), jnp.int32)
    variables = random_variables(model, passage, question)
    text = str(jax.make_jaxpr(lambda: model.apply(variables, passage, question))())
    assert "2,37,29]" in text
    assert "37,29," not in text


def test_without_characters_and_with_another_mechanism():
    model = built(pair="decomposable")
    arrays = {name: array for name, array in BATCH.items() if "characters" not in name}
    variables = random_variables(model, **arrays)
    assert apply(model, variables, **arrays).shape == (3, 7, 2)
    # The second half of what it gives is of the question, by word: there is no h * h~.
    assert variables["params"]["start"]["kernel"].shape == (3 * 2 * W + 2 * W, 1)
    refused = built(pair="co_attention")
    with pytest.raises(Refused, match=r"^model\.pair='co_attention' gives \(3, 6\) of a passage of .* use bidaf or "):
        jax.eval_shape(lambda: refused.init(jax.random.key(0), **arrays))


def test_shares_of_the_question_are_looked_at_where_that_is_asked_for():
    model = built()
    variables = random_variables(model, **BATCH)
    assert variables.keys() == {"params"}
    _, sown = model.apply(variables, **BATCH, mutable=[LOOKED_AT])
    (weights,) = sown[LOOKED_AT]["flow"]["weights"]
    real = np.arange(7) < BATCH["passage_lengths"][:, None]
    np.testing.assert_allclose(weights.sum(-1)[:, 0], real, atol=1e-6)
