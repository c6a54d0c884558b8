"""Words and their characters: what highways leave alone, what a mark has, forms of any padding."""

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.layers.words import Words
from tests.layers.arrays import apply, random_variables

TOKENS = np.array([[3, 1, 0]], np.int32)
CHARACTERS = np.array([[[1, 2, 3, 0], [4, 0, 0, 0], [0, 0, 0, 0]]], np.int32)


def test_more_places_for_characters_change_nothing_and_a_word_without_any_has_zeros():
    module = Words(vocabulary_size=5, width=4, character_vocabulary_size=6, filters=7, highways=0)
    variables = random_variables(module, TOKENS, CHARACTERS)
    found = apply(module, variables, TOKENS, CHARACTERS)
    assert found.shape == (1, 3, 11)
    assert not found[0, 2, 4:].any()
    longer = np.pad(CHARACTERS, ((0, 0), (0, 0), (0, 5)))
    np.testing.assert_allclose(apply(module, variables, TOKENS, longer), found, atol=1e-6)


def test_without_characters_a_word_is_its_own_vector():
    module = Words(vocabulary_size=5, width=4, highways=0)
    variables = random_variables(module, TOKENS)
    np.testing.assert_array_equal(
        apply(module, variables, TOKENS)[0], variables["params"]["token"]["embedding"][TOKENS[0]]
    )
    unread = Words(vocabulary_size=5, width=4, character_vocabulary_size=0, highways=0)
    assert random_variables(unread, TOKENS, CHARACTERS)["params"].keys() == {"token"}


def test_a_highway_carries_what_its_gate_leaves():
    module = Words(vocabulary_size=5, width=4, highways=1)
    params = random_variables(module, TOKENS)["params"]
    shut = {"kernel": jnp.zeros((4, 4)), "bias": jnp.full(4, -100.0)}
    carried = apply(module, {"params": {**params, "carry_1": shut}}, TOKENS)
    np.testing.assert_array_equal(carried[0], params["token"]["embedding"][TOKENS[0]])
    opened = apply(module, {"params": {**params, "carry_1": {**shut, "bias": jnp.full(4, 100.0)}}}, TOKENS)
    changed = jax.nn.relu(
        params["token"]["embedding"][TOKENS[0]] @ params["transform_1"]["kernel"] + params["transform_1"]["bias"]
    )
    np.testing.assert_allclose(opened[0], changed, rtol=1e-6)
    start = module.init(jax.random.key(0), TOKENS)["params"]["carry_1"]["bias"]
    np.testing.assert_allclose(jax.nn.sigmoid(start), 0.2, atol=0.01)
