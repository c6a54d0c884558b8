"""`attend_pair` refuses what it cannot honour, in one line; it builds no array of T S D elements."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels import Causal, Refused, attend_pair, pair_init

FIRST, SECOND = (jnp.asarray(np.random.default_rng(0).normal(size=(2, tokens, 8)), jnp.float32) for tokens in (5, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pair": "bidf"}, r"there is no pair 'bidf'\. Did you mean 'bidaf'"),
        ({"pair": "abcnn_2:windw=2"}, r"pair 'abcnn_2' has no option 'windw' \(given 2\)\. Did you mean 'window'"),
        ({"pair": "abcnn_2:window=0"}, "abcnn_2 has window=0: give at least 1"),
        ({"pair": "abcnn_2:window=5"}, "a window of 5 is longer than the 4 tokens: give a smaller one"),
        ({"pair": "co_attention:hidden=0"}, "co_attention has hidden=0"),
        ({"pair": "decomposable:hidden=0"}, "decomposable has hidden=0"),
        ({"pair": "bidaf"}, r"bidaf takes params \['first', 'product', 'second'\], not \[\]: make them with pair_init"),
        ({"first": FIRST[:1]}, r"first \(1, 5, 8\) and second \(2, 4, 8\) differ in batch or width"),
        ({"second": SECOND[..., :3]}, r"first \(2, 5, 8\) and second \(2, 4, 3\) differ in batch or width"),
        ({"first": FIRST[0]}, r"first has shape \(5, 8\): give \[batch, tokens, width\]"),
        ({"second_mask": Causal()}, "the mask of second is Causal: it says which tokens are real, by Padding"),
        ({"first_mask": np.ones((2, 4), bool)}, r"Padding has bool of shape \(2, 4\) for 2 sequences of 5 keys"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arguments, message):
    with pytest.raises(Refused, match=message) as refusal:
        attend_pair(**{"first": FIRST, "second": SECOND, "pair": "abcnn_2:window=2"} | arguments)
    assert "\n" not in str(refusal.value)


def test_a_pair_with_a_number_for_each_place_is_cut_to_the_sequence_and_refuses_a_longer_one():
    with pytest.raises(Refused, match="'weight' has a number for each place of a sequence: say how long it can be"):
        pair_init("abcnn_1", jax.random.key(0), 8)
    params = pair_init("abcnn_1", jax.random.key(0), 8, length=9)
    cut = {"weight": params["weight"][:5]}
    found, expected = (attend_pair(FIRST, SECOND, pair="abcnn_1", params=given) for given in (params, cut))
    np.testing.assert_array_equal(found.first, expected.first)
    with pytest.raises(Refused, match=r"abcnn_1 was made for sequences of up to 4 tokens .* make it with length=5"):
        attend_pair(FIRST, SECOND, pair="abcnn_1", params={"weight": params["weight"][:4]})


@pytest.mark.parametrize("pair", ["bidaf", "decomposable"])
def test_no_array_of_every_pair_and_every_channel_is_built(pair):
    tokens, width = 128, 64
    params = pair_init(pair, jax.random.key(0), width)
    shape = jax.ShapeDtypeStruct((1, tokens, width), jnp.float32)
    total = jax.jit(
        jax.grad(
            lambda *both: sum(part.sum() for part in jax.tree.leaves(attend_pair(*both, pair=pair, params=params)))
        )
    )
    needed = total.lower(shape, shape).compile().memory_analysis().temp_size_in_bytes
    assert needed < tokens * tokens * width * 4 / 3
