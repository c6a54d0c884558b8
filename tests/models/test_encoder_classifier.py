"""The encoder classifier reads its tokens in both directions and classifies their mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.kernels import Refused
from tests.layers.arrays import apply, changed, random_variables

FACTS = {"vocabulary_size": 9, "length": 5, "num_classes": 3}
MODEL = models.build("encoder_classifier", facts=FACTS, num_layers=2, num_heads=2, width=8)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(9, size=(2, 5)), jnp.int32)


def test_moving_the_tokens_with_their_positions_changes_nothing():
    variables = random_variables(MODEL, TOKENS)
    order = jnp.array([3, 0, 4, 1, 2])
    table = variables["params"]["position"]["embedding"]
    moved = {"params": {**variables["params"], "position": {"embedding": table[order]}}}
    logits = apply(MODEL, variables, TOKENS)
    assert logits.shape == (2, 3)
    np.testing.assert_allclose(apply(MODEL, moved, TOKENS[:, order]), logits, rtol=0, atol=1e-5)
    # And the tokens alone do change it: neither side of the equality is blind to them.
    assert float(jnp.abs(apply(MODEL, variables, TOKENS[:, order]) - logits).max()) > 1e-2


def test_bfloat16_keeps_parameters_and_logits_in_float32():
    half = changed(MODEL, dtype="bfloat16")
    logits, variables = jax.eval_shape(lambda: half.init_with_output(jax.random.key(0), TOKENS))
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


def test_too_many_tokens_are_refused():
    with pytest.raises(Refused, match="6 tokens are more than the 5 positions"):
        jax.eval_shape(lambda: MODEL.init(jax.random.key(0), jnp.zeros((1, 6), jnp.int32)))


def test_the_default_pooling_is_the_mean_and_has_no_parameters():
    variables = random_variables(MODEL, TOKENS)
    assert variables["params"].keys() == {"token", "position", "block_0", "block_1", "norm", "head"}


@pytest.mark.parametrize("pooling", ["self_attentive:hops=2", "by_query", "gated_pooling", "multihead_pooling:heads=2"])
def test_any_pooling_sums_up_the_real_tokens(pooling):
    model = MODEL.clone(pooling=pooling)
    variables = model.init(jax.random.key(0), TOKENS)
    assert variables["params"]["pooling"]
    padded = TOKENS.at[1, 3:].set(0)
    one, other = (apply(model, variables, tokens, lengths=jnp.array([5, 3])) for tokens in (TOKENS, padded))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (2, 3)


def test_a_pooling_that_there_is_not_is_refused():
    with pytest.raises(Refused, match=r"there is no pooling 'self_atentive'\. Did you mean 'self_attentive'"):
        jax.eval_shape(lambda: MODEL.clone(pooling="self_atentive").init(jax.random.key(0), TOKENS))
