"""The tagger: padding touches nothing, any attention that looks both ways fits, a language model is read and frozen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.base.errors import Refused

FACTS = {"vocabulary_size": 11, "character_vocabulary_size": 9, "num_classes": 3}
LSTM = {"width": 4, "bidirectional": True}
BILM = {"num_layers": 1, "width": 4, "filters": 4}
RNG = np.random.default_rng(0)
BATCH = {
    "tokens": RNG.integers(1, 11, size=(2, 5)).astype(np.int32),
    "characters": RNG.integers(1, 9, size=(2, 5, 4)).astype(np.int32),
    "lengths": np.array([5, 3], np.int32),
}


def built(**options):
    model = models.build("tagger", facts=FACTS, width=4, filters=4, encoder=LSTM, **options)
    return model, model.init(jax.random.key(0), **BATCH)


@pytest.mark.parametrize("options", [{}, {"bilm": BILM}, {"bilm": BILM, "attention": "scaled_dot"}])
def test_padding_touches_no_real_word(options):
    model, variables = built(**options)
    loud = {**BATCH, "tokens": BATCH["tokens"].copy(), "characters": BATCH["characters"].copy()}
    loud["tokens"][1, 3:], loud["characters"][1, 3:] = 7, 8
    one, other = (model.apply(variables, **batch) for batch in (BATCH, loud))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1, :3], other[1, :3])
    assert one.dtype == jnp.float32
    assert one.shape == (2, 5, 3)


@pytest.mark.parametrize("attention", ["additive", "general", "sliding_window:window=1"])
def test_any_attention_that_looks_both_ways_fits(attention):
    model, variables = built(attention=attention)
    plain, _ = built()
    assert model.apply(variables, **BATCH).shape == (2, 5, 3)
    assert {*variables["params"]} - {"attention"} == {*plain.init(jax.random.key(0), **BATCH)["params"]}


def test_one_that_cannot_is_refused():
    with pytest.raises(Refused, match="forgetting"):
        built(attention="forgetting")


def test_a_language_model_without_characters_is_refused():
    model = models.build("tagger", facts=FACTS, bilm=BILM)
    with pytest.raises(Refused, match=r"data\.characters"):
        model.init(jax.random.key(0), tokens=BATCH["tokens"])


def test_the_parameters_of_a_language_model_are_the_taggers_own():
    _, tagger = built(bilm=BILM)
    model = models.build("bilm", facts=FACTS, bilm=BILM)
    batch = {name: BATCH[name] for name in ("characters", "lengths")}
    logits, bilm = model.init_with_output(jax.random.key(1), **batch)
    assert logits.shape == (2, 5, 2, 11)
    assert {*bilm["params"]} == {"bilm", "output"}
    shapes = [jax.tree.map(jnp.shape, of["params"]["bilm"]) for of in (tagger, bilm)]
    assert shapes[0] == shapes[1]
    with pytest.raises(Refused, match="num_layers"):
        models.build("bilm", facts=FACTS, bilm={"num_layers": 0}).init(jax.random.key(0), **batch)
