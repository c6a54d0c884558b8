"""ABCNN and BCNN: the paper's equations by loops in float64, padding, texts of no and of one token, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.base.errors import Refused
from attention_jax.layers.attention import LOOKED_AT
from tests.layers.arrays import apply, random_variables

FACTS = {"vocabulary_size": 11, "length": 7, "num_classes": 3}
PLACES = {
    "bcnn": (None, None),
    "abcnn_1": ("abcnn_1", None),
    "abcnn_2": (None, "abcnn_2"),
    "abcnn_3": ("abcnn_1", "abcnn_2"),
}
RNG = np.random.default_rng(0)
FIRST, SECOND = (RNG.integers(11, size=(4, width)).astype(np.int32) for width in (7, 5))
LENGTHS = {"first_lengths": np.array([7, 4, 1, 0], np.int32), "second_lengths": np.array([5, 2, 5, 3], np.int32)}


def built(name="abcnn_3", **options):
    channel, pooling = PLACES[name]
    sizes = {"width": 4, "filters": 3, "window": 3, "num_layers": 2}
    return models.build("abcnn", facts=FACTS, **{**sizes, "channel": channel, "pooling": pooling, **options})


def scores(these, those):
    """A_ij = 1 / (1 + |x_i - y_j|)."""
    return np.array([[1 / (1 + np.sqrt(((x - y) ** 2).sum())) for y in those] for x in these])


def convolved(tokens, kernel, bias, window):
    """A wide convolution: a place for each window that holds a token."""
    count, width = tokens.shape
    places = []
    for place in range(count + window - 1):
        inner = bias.copy()
        for offset in range(window):
            token = place - window + 1 + offset
            if 0 <= token < count:
                inner = inner + tokens[token] @ kernel[offset * width : (offset + 1) * width]
        places.append(np.tanh(inner))
    return np.stack(places)


def block(texts, params, layer, name, window):
    channel, pooling = PLACES[name]
    if channel:
        weight, match = params[f"channel_{layer}"]["pair_weight"], scores(*texts)
        maps = [of @ weight[: of.shape[1]] for of in (match, match.T)]
        texts = [np.concatenate(two, axis=1) for two in zip(texts, maps, strict=True)]
    given = params[f"convolution_{layer}"]
    wide = [convolved(text, given["kernel"], given["bias"], window) for text in texts]
    shares = [np.full(len(text), 1 / window) for text in wide]
    if pooling:
        match = scores(*wide)
        shares = [match.sum(1), match.sum(0)]
    return [
        np.stack([sum(share[k] * text[k] for k in range(j, j + window)) for j in range(len(text) - window + 1)])
        for text, share in zip(wide, shares, strict=True)
    ]


def classified(levels, params):
    features = []
    for u, v in levels:
        features += [u @ v / np.sqrt((u @ u) * (v @ v)), 1 / (1 + np.sqrt(((u - v) ** 2).sum()))]
    return np.array(features) @ params["head"]["kernel"] + params["head"]["bias"]


@pytest.mark.parametrize("name", PLACES)
def test_it_is_what_the_paper_says(name):
    model = built(name)
    variables = random_variables(model, FIRST, SECOND)
    params = jax.tree.map(lambda array: np.asarray(array, np.float64), variables["params"])
    found = apply(model, variables, FIRST, SECOND, **LENGTHS)
    for row in range(3):
        ids = [FIRST[row, : LENGTHS["first_lengths"][row]], SECOND[row, : LENGTHS["second_lengths"][row]]]
        texts = [params["embedding"]["token"]["embedding"][of] for of in ids]
        levels = [[text.mean(0) for text in texts]]
        for layer in (1, 2):
            texts = block(texts, params, layer, name, 3)
            levels.append([text.mean(0) for text in texts])
        np.testing.assert_allclose(found[row], classified(levels, params), rtol=2e-5, atol=2e-5)


def test_vectors_are_compared_beside_the_similarities_and_shared_words_are_marked():
    model = built(compared="vectors", shared_words=True, num_layers=1, hidden=5)
    variables = random_variables(model, FIRST, SECOND)
    params = variables["params"]
    # Of two levels 2 similarities each; and of each the differences and the products, of widths 4 and 3.
    assert params["hidden"]["kernel"].shape == (2 * 2 + 2 * (4 + 3), 5)
    unmarked = {**params, "embedding": {**params["embedding"], "shared": jnp.zeros(4)}}
    with_common, without = (np.array([tokens], np.int32) for tokens in ([1, 2, 3], [4, 5, 6]))

    def differs(second):
        both = (apply(model, {"params": of}, with_common, second) for of in (params, unmarked))
        return float(jnp.abs(next(both) - next(both)).max()) > 1e-6

    assert differs(np.array([[9, 2]], np.int32))
    assert not differs(without)


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("compared", ["similarity", "vectors"])
def test_padding_touches_nothing_and_gradients_are_finite(name, compared):
    model = built(name, compared=compared, shared_words=True)
    variables = random_variables(model, FIRST, SECOND)

    def loss(params, first, second):
        logits = model.apply({"params": params}, first, second, **LENGTHS)
        return jnp.sum(jnp.sin(logits)), logits

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    real = [np.arange(of.shape[1]) < LENGTHS[name][:, None] for of, name in zip((FIRST, SECOND), LENGTHS, strict=True)]
    loud = [np.where(of, tokens, 10) for of, tokens in zip(real, (FIRST, SECOND), strict=True)]
    quiet = [np.where(of, tokens, 0) for of, tokens in zip(real, (FIRST, SECOND), strict=True)]
    # Neither stands in a text: the vector of either is padding's alone.
    params = variables["params"]
    (_, found), gradients = run(params, *loud)
    (_, others), other_gradients = run(params, *quiet)
    np.testing.assert_allclose(found, others, atol=1e-6)
    assert np.isfinite(found).all()
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(other_gradients), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
        assert np.isfinite(one).all()


def test_more_padding_changes_nothing():
    model = built()
    variables = random_variables(model, FIRST, SECOND)
    short = apply(
        model,
        variables,
        FIRST[:, :4],
        SECOND,
        first_lengths=np.minimum(LENGTHS["first_lengths"], 4),
        second_lengths=LENGTHS["second_lengths"],
    )
    wide = apply(
        model,
        variables,
        FIRST,
        SECOND,
        first_lengths=np.minimum(LENGTHS["first_lengths"], 4),
        second_lengths=LENGTHS["second_lengths"],
    )
    np.testing.assert_allclose(short, wide, atol=1e-6)


def test_equal_texts_have_finite_gradients():
    model = built()
    variables = random_variables(model, FIRST, FIRST)
    gradients = jax.grad(lambda params: model.apply({"params": params}, FIRST, FIRST).sum())(variables["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_affinities_are_looked_at_where_that_is_asked_for():
    model = built()
    variables = random_variables(model, FIRST, SECOND)
    assert variables.keys() == {"params"}
    _, sown = model.apply(variables, FIRST, SECOND, **LENGTHS, mutable=[LOOKED_AT])
    weights = {name: of["weights"][0] for name, of in sown[LOOKED_AT].items()}
    assert {name: of.shape for name, of in weights.items()} == {
        **{f"channel_{layer}": (4, 1, 7, 5) for layer in (1, 2)},
        **{f"weights_{layer}": (4, 1, 9, 7) for layer in (1, 2)},
    }
    assert not weights["channel_1"][1, :, 4:].any()
    assert not weights["channel_1"][1, :, :, 2:].any()
    _, written = model.apply(variables, FIRST, SECOND, mutable=["losses"])
    assert not written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, r"^model abcnn has window=0: give at least 1\."),
        ({"compared": "vector"}, r"^model abcnn compares no 'vector'\. Did you mean 'vectors'\?"),
        (
            {"channel": "co_attention"},
            r"^model\.channel='co_attention' gives \(4, 4\) and .* use abcnn_1, or model pair_",
        ),
        ({"pooling": "abcnn_2:window=2"}, r"^model\.pooling='abcnn_2:window=2' gives .* is needed: use abcnn_2, or "),
        ({"channel": "abcnn_9"}, r"^there is no pair 'abcnn_9'\."),
    ],
)
def test_what_cannot_do_the_work_is_refused(options, message):
    model = built(**options)
    with pytest.raises(Refused, match=message):
        jax.eval_shape(lambda: model.init(jax.random.key(0), FIRST, SECOND))


def test_another_mechanism_may_give_the_second_channel():
    model = built(channel="decomposable")
    assert apply(model, random_variables(model, FIRST, SECOND), FIRST, SECOND, **LENGTHS).shape == (4, 3)
