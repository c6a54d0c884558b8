"""Mixers in models: found by spec, decoded, counted, listed; and what a stack of them refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.contract.cases import quick_jit
from attention_jax.contract.mixers.cases import SPECS, claims
from attention_jax.contract.mixers.test_refusals import OTHER
from attention_jax.kernels import Refused
from attention_jax.layers.kinds import KINDS, kind_of
from attention_jax.layers.mixer import MIXERS, OF_EACH_LAYER, OPTIONAL, claims_of, is_mixer, require_causal
from tests.layers.arrays import random_variables

FACTS = {"vocabulary_size": 11, "length": 16}
TOKENS = jnp.asarray(np.random.default_rng(0).integers(11, size=(2, 8)), jnp.int32)
OWN = """
from functools import partial
import flax.linen as nn
from attention_jax.kernels.source import Source
from attention_jax.layers import Mixed, MixerClaims, StackOptions, register_mixer

class Halving(nn.Module):
    options: StackOptions
    layer: int = 1

    def __call__(self, inputs, seen, *, state=None, deterministic=True):
        return Mixed(inputs / 2)

@register_mixer(source=Source("a test", "none"), claims=MixerClaims(decodes=False))
def halving():
    \"\"\"Half of each token.\"\"\"
    return partial(Halving)
"""


def gpt(attention, **options):
    sizes = {"num_layers": 2, "num_heads": 2, "width": 8}
    return models.build("gpt", facts=FACTS, attention=attention, **{**sizes, **options})


def traced(model, tokens=TOKENS):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), tokens))


# The contract holds the steps of each alone.
DECODED = [
    pytest.param(spec, marks=[] if spec.startswith("mla") else [pytest.mark.long])
    for spec in SPECS
    if claims(spec).decodes
]


@pytest.mark.parametrize("spec", DECODED)
def test_a_language_model_of_it_decodes_prompts_of_unequal_length(spec):
    positions = (*claims(spec).positions, "learned")[0]
    model = gpt((spec, "scaled_dot"), positions=positions)
    variables = random_variables(model, jnp.zeros((1, 16), jnp.int32))

    @quick_jit
    def both(variables):
        whole = model.apply(variables, TOKENS)
        state, found = model.apply(variables, 2, 16, method="start"), []
        for start, stop in ((0, 4), (4, 5), (5, 8)):
            # Of the second sequence two tokens fewer are there at first.
            tokens = jnp.stack([TOKENS[0, start:stop], jnp.roll(TOKENS[1], 2)[start:stop]])
            lengths = jnp.array([stop - start] * 2)
            if start == 0:
                tokens, lengths = jnp.stack([TOKENS[0, :4], TOKENS[1, :4]]), jnp.array([4, 2])
            logits, state = model.apply(variables, state, tokens, lengths, method="advance")
            found.append(logits)
        return whole, jnp.stack(found)

    whole, found = both(variables)
    for step, (first, second) in enumerate(((3, 1), (4, 2), (7, 5))):
        np.testing.assert_allclose(found[step, 0], whole[0, first], atol=2e-4)
        np.testing.assert_allclose(found[step, 1], whole[1, second], atol=2e-4)


def test_the_latent_is_less_than_the_keys_and_values():
    sizes = {"num_heads": 8, "width": 64, "positions": "rope"}
    of_latent, of_cache = (models.decode_bytes(gpt(spec, **sizes)) for spec in ("mla:latent=16", "scaled_dot"))
    # C + H / 2 numbers of each of 16 tokens in place of 2 N H, and the length.
    assert of_latent == 2 * (16 * (16 + 4) * 4 + 4)
    assert of_cache == 2 * (16 * 2 * 64 * 4 + 4)


def test_a_rotary_part_without_rope_is_refused():
    with pytest.raises(Refused, match=r"mla:rotary=2 has nothing that turns it with model.positions='learned'"):
        traced(gpt("mla:rotary=2"))
    assert "rotary" not in traced(gpt("mla"))["params"]["block_0"]["attention"]


@pytest.mark.parametrize("spec", [spec for spec in SPECS if claims(spec).causal == "no"])
def test_one_without_a_causal_form_predicts_no_next_token(spec):
    with pytest.raises(Refused, match=r"model gpt predicts the next token, and .* has no causal form"):
        traced(gpt(spec))


def test_an_option_that_another_layer_reads_is_for_that_layer():
    traced(gpt(("mla", "scaled_dot"), num_kv_heads=1))
    with pytest.raises(Refused, match=r"attention mla does not take model.num_kv_heads=1"):
        traced(gpt("mla", num_kv_heads=1))


def test_a_mixer_of_a_file_is_found_and_held_to_its_claims(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    spec = f"{path}:halving"
    assert is_mixer(spec)
    assert kind_of(spec) is MIXERS
    assert claims_of(spec).decodes is False
    require_causal(spec, owner="a test")
    model = gpt(spec)
    assert traced(model)["params"]["block_0"].keys() == {"attention_norm", "feed_forward", "feed_forward_norm"}
    assert models.decode_bytes(model) is None
    random = random_variables(model, TOKENS)
    with pytest.raises(Refused, match="halving has no steps of tokens to decode in"):
        jax.eval_shape(lambda: model.apply(random, 2, method="start"))


def test_the_contract_tries_each_option_of_attention():
    assert {*OPTIONAL, *OF_EACH_LAYER} == OTHER.keys()


def test_mixers_are_a_kind():
    assert MIXERS in KINDS
    with pytest.raises(Refused, match="has no option 'rank'"):
        MIXERS.choose("mla:rank=2")
