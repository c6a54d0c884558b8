"""What a sequence holds while it is decoded: equal to what attending really leaves, and never allocated."""

import jax
import jax.numpy as jnp
import pytest

from attention_jax.kernels import Causal, KeyValueCache, Sizes, attend, init, lookup, names
from attention_jax.kernels.decode_state import decode_bytes
from tests.layers.arrays import variant_file

WIDTHS = Sizes(heads=4, kv_heads=2, query=8, key=8, value=8)


def held(pytree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(pytree))


def test_keys_and_values_grow_with_the_tokens_and_are_those_of_the_cache():
    cache = KeyValueCache.empty(WIDTHS, batch=1, capacity=100)
    assert decode_bytes("scaled_dot", WIDTHS, tokens=100) == held(cache)
    assert decode_bytes("scaled_dot", WIDTHS, tokens=100, dtype=jnp.bfloat16) == (held(cache) - 4) / 2 + 4
    # The length of the sequence, four bytes, does not grow.
    grown = decode_bytes("scaled_dot", WIDTHS, tokens=200)
    assert grown - 4 == 2 * (held(cache) - 4)


def test_a_window_holds_no_more_than_its_keys():
    window = held(KeyValueCache.empty(WIDTHS, batch=1, capacity=16))
    for tokens in (16, 1000, 10**9):
        assert decode_bytes("sliding_window:window=16", WIDTHS, tokens=tokens) == window
    assert decode_bytes("sliding_window:window=16", WIDTHS, tokens=4) < window
    with_sinks = held(KeyValueCache.empty(WIDTHS, batch=1, capacity=20))
    assert decode_bytes("sliding_window:window=16,sinks=4", WIDTHS, tokens=10**9) == with_sinks


STATEFUL = [name for name in names() if lookup(name).claims.state]


@pytest.mark.parametrize("variant", STATEFUL)
def test_a_recurrent_state_is_as_large_as_the_one_that_attend_leaves(variant):
    sizes = decode_bytes(variant, WIDTHS, tokens=10), decode_bytes(variant, WIDTHS, tokens=10**9)
    assert sizes[0] == sizes[1]
    tokens = (1, 5, 2)
    trained, drawn = init(variant, jax.random.key(0), WIDTHS)
    state = attend(
        jnp.ones((1, 5, 4, 8)),
        jnp.ones((*tokens, 8)),
        jnp.ones((*tokens, 8)),
        variant=variant,
        params={**trained, **drawn},
        per_token={
            name: jnp.zeros(one.shape(WIDTHS, batch=1, queries=5, keys=5))
            for name, one in lookup(variant).mechanism.per_token.items()
        },
        mask=Causal(),
        outputs=("out", "state"),
    ).state
    assert sizes[0] == held(state)


@pytest.mark.parametrize("name", ["leaky", "bidirectional_only"])
def test_what_is_not_strictly_causal_has_no_steps(tmp_path, name):
    with variant_file(tmp_path) as path:
        assert decode_bytes(f"{path}:{name}", WIDTHS, tokens=10) is None
