"""Layers that are scanned over are taken apart before a decoding loop, and give what they gave."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.decoding import beam_search, prompted, unscanned
from tests.layers.arrays import random_variables

SIZES = {"num_layers": 3, "num_heads": 2, "width": 8, "init_stddev": 0.4}
TOKENS = jnp.array([[1, 2, 3, 4], [4, 5, 6, 7]])


def gpt(**options):
    model = models.build("gpt", facts={"vocabulary_size": 11, "length": 12}, **{**SIZES, **options})
    return model, random_variables(model, TOKENS, stddev=0.4)


def transformer():
    facts = {"vocabulary_size": 11, "source_length": 6, "target_length": 8, "begin": 1, "end": 2}
    stack = {**SIZES, "scan_layers": True, "dropout_rate": 0.0}
    model = models.build("transformer", facts=facts, encoder=stack, decoder=stack)
    return model, random_variables(model, TOKENS, TOKENS, stddev=0.4)


@pytest.mark.parametrize("attention", ["scaled_dot", "sliding_window:window=2", "retention", "performer:features=4"])
def test_a_language_model_gives_the_same_logits(attention):
    model, variables = gpt(scan_layers=True, attention=attention)
    apart, of_layers = unscanned(model, variables)
    assert not apart.stack.scan_layers
    assert {"block_0", "block_1", "block_2"} < of_layers["params"].keys()
    assert "blocks" not in of_layers["params"]
    np.testing.assert_allclose(model.apply(variables, TOKENS), apart.apply(of_layers, TOKENS), rtol=1e-5, atol=1e-6)


def test_an_encoder_and_a_decoder_give_the_same_logits():
    model, variables = transformer()
    apart, of_layers = unscanned(model, variables)
    assert not apart.encoder.scan_layers
    assert not apart.decoder.scan_layers
    found, expected = (one.apply(of, TOKENS, TOKENS) for one, of in ((apart, of_layers), (model, variables)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_prompts_are_set_before_layers_of_their_own():
    before = prompted(*gpt(scan_layers=True), [[1, 2], [3, 4]], max_new_tokens=4)
    one_by_one = prompted(*gpt(), [[1, 2], [3, 4]], max_new_tokens=4)
    assert before.advance.func == one_by_one.advance.func
    shapes = (jax.tree.map(jnp.shape, of.state) for of in (before, one_by_one))
    assert next(shapes) == next(shapes)


def test_what_is_written_is_what_full_passes_find_likeliest():
    model, variables = transformer()
    before = prompted(model, variables, [[3, 4], [5, 6, 7]], max_new_tokens=6)
    search = jax.jit(beam_search, static_argnames=("beams", "max_new_tokens", "end"))
    found = search(before.advance, before.state, before.prompt, before.lengths, beams=1, max_new_tokens=6, end=(2,))
    for row, source in enumerate(([3, 4, 2], [5, 6, 7, 2])):
        written = [1]
        for token in np.asarray(found.tokens[row, 0, : found.lengths[row, 0]]).tolist():
            logits = model.apply(variables, jnp.array([source]), jnp.array([written]))
            assert token == int(jnp.argmax(logits[0, -1]))
            written.append(token)


def test_a_model_without_a_scan_stays():
    model, variables = gpt()
    apart, of_layers = unscanned(model, variables)
    assert apart is model
    assert of_layers == variables
