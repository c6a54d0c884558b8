"""Two texts: embedded alike, what they share marked, a mechanism's arrays for texts of any length up to the longest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.base.errors import Refused
from attention_jax.kernels import Padding, attend_pair
from attention_jax.layers.attention import LOOKED_AT
from attention_jax.layers.pairing import PairEmbedding, Pairing
from tests.layers.arrays import apply, normal, random_variables

FIRST, SECOND = normal(2, 5, 3), normal(2, 4, 3, seed=1)
MASKS = {"first_mask": Padding(jnp.array([5, 2])), "second_mask": Padding(jnp.array([1, 4]))}


@pytest.mark.parametrize("pair", ["abcnn_1", "bidaf", "decomposable", "attentive_pooling"])
def test_it_is_attend_pair_with_arrays_of_its_own(pair):
    module = Pairing(pair, length=9)
    variables = random_variables(module, FIRST, SECOND)
    params = {name.removeprefix("pair_"): array for name, array in variables["params"].items()}
    expected = attend_pair(FIRST, SECOND, pair=pair, params=params, **MASKS)
    found = apply(module, variables, FIRST, SECOND, **MASKS)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6), found, expected)
    # Made for 9, it serves shorter ones.
    assert apply(module, variables, FIRST[:, :2], SECOND[:, :1]).affinity.shape == (2, 2, 1)


def test_a_text_that_is_longer_than_the_arrays_is_refused():
    module = Pairing("abcnn_1", length=4)
    variables = random_variables(module, FIRST[:, :4], SECOND)
    with pytest.raises(Refused, match=r"^abcnn_1 was made for sequences of up to 4 tokens"):
        module.apply(variables, FIRST, SECOND)


@pytest.mark.parametrize(("pair", "sums_to_one"), [("decomposable", True), ("attentive_pooling", False)])
def test_shares_of_each_token_are_looked_at_or_else_the_affinity(pair, sums_to_one):
    module = Pairing(pair, length=5)
    variables = random_variables(module, FIRST, SECOND)
    paired, sown = module.apply(variables, FIRST, SECOND, **MASKS, mutable=[LOOKED_AT])
    (weights,) = sown[LOOKED_AT]["weights"]
    shown = paired.second_weights if sums_to_one else paired.affinity
    np.testing.assert_array_equal(weights[:, 0], shown)


def test_a_token_that_both_have_is_marked_and_padding_is_no_token():
    module = PairEmbedding(vocabulary_size=7, width=3, shared_words=True)
    texts = [jnp.array([[1, 2, 5]]), jnp.array([[5, 1, 3, 2]])]
    lengths = [jnp.array([3]), jnp.array([2])]
    params = random_variables(module, texts, lengths)["params"]
    first, second = apply(module, {"params": params}, texts, lengths)
    table, mark = params["token"]["embedding"], params["shared"]
    # 2 stands in the padding of the second.
    expected = jnp.stack([table[1] + mark, table[2], table[5] + mark])
    np.testing.assert_allclose(first[0], expected, rtol=1e-6)
    np.testing.assert_allclose(second[0], jnp.stack([table[5] + mark, table[1] + mark, 0 * mark, 0 * mark]), rtol=1e-6)
