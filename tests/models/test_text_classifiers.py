"""Recurrent and convolutional classifiers: what they sum up, by any pooling, and padding that touches nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.base.errors import Refused
from attention_jax.kernels.pool import POOLINGS, lookup_pooling
from attention_jax.layers import Recurrent
from attention_jax.layers.attention import LOOKED_AT
from tests.layers.arrays import apply, random_variables

FACTS = {"vocabulary_size": 11, "num_classes": 3}
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(11, size=(4, 7)).astype(np.int32)
# All real, some, one token, none.
LENGTHS = np.array([7, 4, 1, 0], np.int32)
ENCODER = {"cell": "gru", "width": 4, "bidirectional": True}


def recurrent(**options):
    return models.build("recurrent_classifier", facts=FACTS, **{"width": 4, "encoder": ENCODER, **options})


def cnn(**options):
    sizes = {"width": 4, "filters": 4, "windows": (2, 3), "num_heads": 2}
    return models.build("cnn_classifier", facts=FACTS, **{**sizes, **options})


WITHOUT_QUERY = [
    name
    for name in POOLINGS.catalogue.names()
    if not lookup_pooling(name).made.takes_query or lookup_pooling(name).made.without_query is not None
]
MODELS = [
    *(recurrent(pooling=pooling) for pooling in ("last", *WITHOUT_QUERY)),
    recurrent(pooling="last", encoder={**ENCODER, "bidirectional": False, "num_layers": 2}),
    *(cnn(pooling=pooling) for pooling in WITHOUT_QUERY),
    cnn(attention="scaled_dot"),
    cnn(attention="additive", pooling="mean"),
    cnn(pooling="by_query", query_width=5),
    cnn(windows=(9,)),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{type(model).__name__}-{model.pooling}")
def test_padding_touches_nothing_and_every_parameter_is_used(model):
    variables = random_variables(model, TOKENS)
    padded = np.arange(7) >= LENGTHS[:, None]

    def loss(params, tokens):
        logits = model.apply({**variables, "params": params}, tokens, lengths=LENGTHS)
        return jnp.sum(jnp.sin(logits)), logits

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    ((_, found), gradients), ((_, others), other_gradients) = (
        run(variables["params"], np.where(padded, token, TOKENS)) for token in (0, 10)
    )
    assert (found.shape, found.dtype) == ((4, 3), jnp.float32)
    np.testing.assert_allclose(found, others, atol=1e-6)
    np.testing.assert_allclose(found[3], variables["params"]["head"]["bias"], rtol=1e-6)
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(other_gradients), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert all(bool(jnp.abs(leaf).max() > 0) for leaf in jax.tree.leaves(gradients))
    alone = apply(model, variables, TOKENS[1:2, :4])
    np.testing.assert_allclose(found[1:2], alone, rtol=1e-4, atol=1e-5)


def test_the_last_state_is_after_the_last_token_and_before_the_first():
    model = recurrent(pooling="last")
    variables = random_variables(model, TOKENS)
    params = variables["params"]
    vectors = params["token"]["embedding"][TOKENS]
    states = Recurrent(model.encoder).apply({"params": params["encoder"]}, vectors, lengths=LENGTHS).outputs
    rows = [
        np.concatenate([state[length - 1, :4], state[0, 4:]])
        for state, length in zip(np.asarray(states), LENGTHS, strict=True)
        if length
    ]
    expected = np.stack(rows) @ params["head"]["kernel"] + params["head"]["bias"]
    found = apply(model, variables, TOKENS, lengths=LENGTHS)[:3]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_convolutions_are_those_of_loops():
    """Windows of 2 and 3 tokens, of which the middle is the place, 0 beyond the text, relu, and the maximum."""
    model = cnn()
    variables = random_variables(model, TOKENS)
    params = jax.tree.map(lambda array: np.asarray(array, np.float64), variables["params"])
    for tokens, length, found in zip(TOKENS, LENGTHS, apply(model, variables, TOKENS, lengths=LENGTHS), strict=True):
        vectors = params["token"]["embedding"][tokens[:length]]
        greatest = []
        for window in (2, 3):
            kernel, bias = params[f"convolution_{window}"]["kernel"], params[f"convolution_{window}"]["bias"]
            places = []
            for place in range(length):
                seen = [place - (window - 1) // 2 + offset for offset in range(window)]
                given = [vectors[at] if 0 <= at < length else np.zeros(4) for at in seen]
                places.append(np.maximum(np.concatenate(given) @ kernel + bias, 0))
            greatest.append(np.max(places, axis=0) if places else np.zeros(4))
        expected = np.concatenate(greatest) @ params["head"]["kernel"] + params["head"]["bias"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_attention_before_the_convolution_lets_far_tokens_in():
    def moved(model):
        variables = random_variables(model, TOKENS)

        def first_place(tokens):
            _, caught = model.apply(variables, tokens, capture_intermediates=True, mutable=["intermediates"])
            return caught["intermediates"]["convolution_3"]["__call__"][0][:, 0]

        return float(jnp.abs(first_place(TOKENS) - first_place(np.where(np.arange(7) == 6, 3, TOKENS))).max()) > 1e-6

    assert moved(cnn(attention="scaled_dot"))
    assert not moved(cnn())


@pytest.mark.parametrize("model", [recurrent(), cnn(pooling="by_query", query_width=5)], ids=["recurrent", "cnn"])
def test_shares_are_looked_at_where_that_is_asked_for(model):
    variables = random_variables(model, TOKENS)
    _, sown = model.apply(variables, TOKENS, lengths=LENGTHS, mutable=[LOOKED_AT])
    (weights,) = sown[LOOKED_AT]["pooling"]["weights"]
    assert weights.shape == (4, 1, 1, 7)
    np.testing.assert_allclose(weights[:, 0, 0].sum(-1), LENGTHS > 0, atol=1e-6)
    assert (weights[:, 0, 0][np.arange(7) >= LENGTHS[:, None]] == 0).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: recurrent(pooling="lst"), r"^there is no pooling 'lst'"),
        (lambda: recurrent(encoder={"cell": "gur"}), r"^there is no recurrent cell 'gur'"),
        (lambda: cnn(pooling="mean", query_width=5), r"^mean takes no query"),
        (lambda: cnn(query_width=-1), r"^model cnn_classifier has query_width=-1: give 0"),
        (lambda: cnn(windows=()), r"^model cnn_classifier has windows=\(\): give the tokens"),
        (lambda: cnn(windows=(3, 3)), r"^model cnn_classifier has windows=\(3, 3\): "),
        (lambda: cnn(filters=0), r"^model cnn_classifier has filters=0: give at least 1\."),
        (lambda: cnn(attention="gated_linear"), r"needs a causal mask|causal"),
    ],
)
def test_what_cannot_be_done_is_refused(build, message):
    with pytest.raises(Refused, match=message):
        jax.eval_shape(lambda: build().init(jax.random.key(0), TOKENS))
