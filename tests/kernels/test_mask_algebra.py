"""Any tree of masks shows what the same tree says in Python, one pair at a time."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.kernels import Causal, Dense, Global, Padding, PrefixLM, Segments, Window
from attention_jax.kernels.mask_algebra import Axis

BATCH, HEADS, QUERIES, KEYS = 2, 2, 3, 5


def arrays(shape, low, high):
    size = int(np.prod(shape))
    return st.lists(st.integers(low, high), min_size=size, max_size=size).map(
        lambda flat: np.array(flat).reshape(shape)
    )


# Each leaf is a mask and the same rule as (batch, head, query, key, query position, key position) -> bool.
LEAVES = st.one_of(
    st.just((Causal(), lambda b, n, i, j, p, q: q <= p)),
    st.integers(1, 4).map(lambda w: (Window(w), lambda b, n, i, j, p, q: abs(p - q) < w)),
    st.integers(1, 3).map(lambda c: (Global(c), lambda b, n, i, j, p, q: p < c or q < c)),
    arrays((BATCH,), 0, 4).map(lambda x: (PrefixLM(x), lambda b, n, i, j, p, q: q <= p or q < x[b])),
    arrays((BATCH,), 0, KEYS).map(lambda x: (Padding(x), lambda b, n, i, j, p, q: j < x[b])),
    arrays((BATCH, KEYS), 0, 1).map(lambda x: (Padding(x == 1), lambda b, n, i, j, p, q: x[b, j] == 1)),
    st.tuples(arrays((BATCH, QUERIES), 0, 2), arrays((BATCH, KEYS), 0, 2)).map(
        lambda ids: (Segments(*ids), lambda b, n, i, j, p, q: ids[0][b, i] == ids[1][b, j])
    ),
    arrays((QUERIES, KEYS), 0, 1).map(lambda x: (Dense(x == 1), lambda b, n, i, j, p, q: x[i, j] == 1)),
    arrays((1, HEADS, QUERIES, KEYS), 0, 1).map(lambda x: (Dense(x == 1), lambda b, n, i, j, p, q: x[0, n, i, j] == 1)),
)


def both(left, right):
    return left[0] & right[0], lambda *pair: left[1](*pair) and right[1](*pair)


def either(left, right):
    return left[0] | right[0], lambda *pair: left[1](*pair) or right[1](*pair)


TREES = st.recursive(
    LEAVES,
    lambda trees: st.builds(lambda join, a, b: join(a, b), st.sampled_from([both, either]), trees, trees),
    max_leaves=5,
)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(tree=TREES, of_query=arrays((BATCH, QUERIES), 0, 5), of_key=arrays((BATCH, KEYS), 0, 5))
def test_a_tree_shows_what_it_says(tree, of_query, of_key):
    mask, rule = tree
    query = Axis(index=jnp.arange(QUERIES), position=jnp.asarray(of_query))
    key = Axis(index=jnp.arange(KEYS), position=jnp.asarray(of_key))
    mask.check(batch=BATCH, heads=HEADS, queries=QUERIES, keys=KEYS)
    shape = (BATCH, HEADS, QUERIES, KEYS)
    says = [rule(b, n, i, j, of_query[b, i], of_key[b, j]) for b, n, i, j in np.ndindex(*shape)]
    np.testing.assert_array_equal(np.broadcast_to(mask.visible(query, key), shape), np.reshape(says, shape))
    if mask.causal:
        future = of_key[:, None, None, :] > of_query[:, None, :, None]
        assert not np.reshape(says, shape)[np.broadcast_to(future, shape)].any()
