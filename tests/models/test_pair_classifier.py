"""The classifier of two texts: any pair mechanism, padding, and the control in which no text sees the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.base.errors import Refused
from attention_jax.kernels.attend_pair import PAIRS
from attention_jax.layers.attention import LOOKED_AT
from tests.layers.arrays import apply, random_variables

FACTS = {"vocabulary_size": 11, "length": 7, "num_classes": 3}
W = 3
RNG = np.random.default_rng(0)
FIRST, SECOND = (RNG.integers(11, size=(4, width)).astype(np.int32) for width in (7, 5))
LENGTHS = {"first_lengths": np.array([7, 4, 3, 2], np.int32), "second_lengths": np.array([5, 3, 5, 3], np.int32)}
SPECS = [None, *(f"{name}:window=2" if name in ("abcnn_2", "abcnn_3") else name for name in PAIRS.catalogue.names())]


def built(**options):
    sizes = {"width": 4, "encoder": {"width": W, "bidirectional": True}, "hidden": 5}
    return models.build("pair_classifier", facts=FACTS, **{**sizes, **options})


@pytest.mark.parametrize("pair", SPECS)
def test_any_mechanism_will_do_and_padding_touches_nothing(pair):
    model = built(pair=pair, shared_words=True)
    variables = random_variables(model, FIRST, SECOND)

    def loss(params, first, second):
        logits = model.apply({"params": params}, first, second, **LENGTHS)
        return jnp.sum(jnp.sin(logits)), logits

    real = [np.arange(of.shape[1]) < LENGTHS[name][:, None] for of, name in zip((FIRST, SECOND), LENGTHS, strict=True)]
    padded = [
        [np.where(of, tokens, token) for of, tokens in zip(real, (FIRST, SECOND), strict=True)] for token in (10, 0)
    ]
    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    ((_, found), gradients), ((_, others), other_gradients) = (run(variables["params"], *both) for both in padded)
    assert found.shape == (4, 3)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, others, atol=1e-6)
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(other_gradients), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, atol=1e-5)
    used = [bool(jnp.abs(leaf).max() > 0) for leaf in jax.tree.leaves(gradients)]
    assert all(used)


def test_it_is_what_it_says():
    """Without a pair mechanism: both encodings through a layer, their means, and [u; v; |u - v|; u v]."""
    model = built(pair=None)
    variables = random_variables(model, FIRST, SECOND)
    params = variables["params"]
    encoded = {}
    module = models.build("pair_classifier", facts=FACTS, width=4, hidden=5, pair=None, encoder=model.encoder)
    _, caught = module.apply(variables, FIRST, SECOND, **LENGTHS, capture_intermediates=True, mutable=["intermediates"])
    outputs = [ran.outputs for ran in caught["intermediates"]["encoder"]["__call__"]]
    for side, text in zip(("first", "second"), outputs, strict=True):
        inner = np.maximum(text @ params[f"compose_{side}"]["kernel"] + params[f"compose_{side}"]["bias"], 0)
        rows = [row[:length].mean(0) for row, length in zip(inner, LENGTHS[f"{side}_lengths"], strict=True)]
        encoded[side] = np.stack(rows)
    u, v = encoded.values()
    joined = np.concatenate([u, v, np.abs(u - v), u * v], axis=1)
    hidden = np.maximum(joined @ params["hidden"]["kernel"] + params["hidden"]["bias"], 0)
    expected = hidden @ params["head"]["kernel"] + params["head"]["bias"]
    np.testing.assert_allclose(apply(model, variables, FIRST, SECOND, **LENGTHS), expected, rtol=1e-4, atol=1e-5)


def test_only_with_a_mechanism_does_a_text_see_the_other():
    def moves(pair):
        model = built(pair=pair)
        variables = random_variables(model, FIRST, SECOND)

        def of_first(second):
            _, caught = model.apply(variables, FIRST, second, capture_intermediates=True, mutable=["intermediates"])
            return caught["intermediates"]["compose_first"]["__call__"][0]

        return float(jnp.abs(of_first(SECOND) - of_first(SECOND[:, ::-1] // 2)).max()) > 1e-6

    assert moves("decomposable")
    assert not moves(None)


def test_shares_are_looked_at_where_that_is_asked_for():
    model = built(pair="decomposable")
    variables = random_variables(model, FIRST, SECOND)
    assert variables.keys() == {"params"}
    _, sown = model.apply(variables, FIRST, SECOND, **LENGTHS, mutable=[LOOKED_AT])
    (weights,) = sown[LOOKED_AT]["pairing"]["weights"]
    real = np.arange(7) < LENGTHS["first_lengths"][:, None]
    np.testing.assert_allclose(weights.sum(-1)[:, 0], real, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pair": "bidfa"}, r"^there is no pair 'bidfa'\. Did you mean 'bidaf'\?"),
        ({"pooling": "maen"}, r"^there is no pooling 'maen'"),
        ({"encoder": {"cell": "gur"}}, r"^there is no recurrent cell 'gur'"),
    ],
)
def test_what_there_is_not_is_refused(options, message):
    with pytest.raises(Refused, match=message):
        jax.eval_shape(lambda: built(**options).init(jax.random.key(0), FIRST, SECOND))
