"""The layer that sums up a sequence: the mean of its real tokens by default, any pooling with arrays of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels import Padding, Refused, pool
from attention_jax.layers import Pooling
from tests.layers.arrays import normal

HIDDEN = normal(4, 5, 3)
LENGTHS = jnp.array([5, 2, 0, 1])


def mean_of_tokens(hidden, *, lengths=None):
    return Pooling().apply({}, hidden, mask=None if lengths is None else Padding(lengths))


def test_it_is_that_of_numpy_over_the_real_tokens_and_zero_over_none():
    found = np.asarray(jax.jit(mean_of_tokens)(HIDDEN, lengths=LENGTHS))
    for row, length in enumerate(LENGTHS):
        expected = np.asarray(HIDDEN)[row, :length].mean(axis=0) if length else np.zeros(3)
        np.testing.assert_allclose(found[row], expected, rtol=1e-6)
    np.testing.assert_array_equal(mean_of_tokens(HIDDEN), HIDDEN.mean(axis=1))


def test_no_gradient_goes_to_padding_and_the_others_have_their_share():
    gradient = jax.jit(jax.grad(lambda hidden: mean_of_tokens(hidden, lengths=LENGTHS).sum()))(HIDDEN)
    shares = np.where(np.arange(5) < LENGTHS[:, None], 1 / np.maximum(LENGTHS, 1)[:, None], 0)
    np.testing.assert_allclose(gradient, np.repeat(shares[..., None], 3, axis=2), rtol=1e-6)


@pytest.mark.parametrize("lengths", [None, jnp.array([4000])])
def test_a_long_sequence_in_bfloat16_is_summed_wider(lengths):
    hidden = jnp.full((1, 4000, 1), 0.1, jnp.bfloat16)
    mean = jax.jit(mean_of_tokens)(hidden, lengths=lengths)
    assert mean.dtype == jnp.bfloat16
    assert float(mean[0, 0]) == pytest.approx(0.1, rel=0.01)


def test_it_owns_the_arrays_of_its_pooling():
    layer, query = Pooling("by_query"), normal(4, 2)
    with_query = layer.init(jax.random.key(0), HIDDEN, query=query)["params"]
    assert {name: array.shape for name, array in with_query.items()} == {"pooling_weight": (2, 3)}
    found = layer.apply({"params": with_query}, HIDDEN, query=query, mask=Padding(LENGTHS))
    params = {"weight": with_query["pooling_weight"]}
    given = {"pooling": "by_query", "params": params, "mask": Padding(LENGTHS), "query": query}
    np.testing.assert_array_equal(found, pool(HIDDEN, **given).out)
    learned = layer.init(jax.random.key(0), HIDDEN)["params"]
    assert learned.keys() == {"pooling_hidden", "pooling_bias", "pooling_context"}


def test_what_is_drawn_and_not_trained_is_no_parameter(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import jax, jax.numpy as jnp\n"
        "from attention_jax.kernels import Declared, Pooled, Pooling, PoolingClaims, Source, register_pooling\n"
        "@register_pooling(source=Source('a test', 'none'), claims=PoolingClaims())\n"
        "def projected() -> Pooling:\n"
        "    'The mean of a random projection.'\n"
        "    draw = Declared(('D', 2), lambda rng, shape, sizes: jax.random.normal(rng, shape), trained=False)\n"
        "    pool = lambda hidden, given: Pooled((hidden @ given.params['projection']).mean(1))\n"
        "    return Pooling(pool=pool, arrays={'projection': draw})\n"
    )
    variables = Pooling(f"{file}:projected").init(jax.random.key(0), HIDDEN)
    assert jax.tree.map(jnp.shape, variables) == {"buffers": {"pooling_projection": (3, 2)}}
    assert Pooling(f"{file}:projected").apply(variables, HIDDEN).shape == (4, 2)


def test_a_pooling_that_needs_what_is_not_there_is_refused():
    with pytest.raises(Refused, match="mean takes no query: leave it out, or use pooling by_query"):
        Pooling().init(jax.random.key(0), HIDDEN, query=normal(4, 2))
    with pytest.raises(Refused, match=r"there is no pooling 'maen'\. Did you mean 'mean'"):
        Pooling("maen").init(jax.random.key(0), HIDDEN)
