"""The dropout mask: a pure function of key, batch, head and the two positions, of the right density, independent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels.dropout import drop, keep_mask
from attention_jax.kernels.mechanism import Place

KEY = jax.random.key(3)
compiled_mask = jax.jit(keep_mask, static_argnames="rate")


def kept(rate=0.3, *, rng=KEY, batch=(0, 1), heads=(0, 1, 2), queries=range(6), keys=range(8)):
    place = Place(jnp.array(batch), jnp.array(heads), jnp.asarray([[*queries]]), jnp.asarray([[*keys]]))
    return np.asarray(compiled_mask(rng, rate, place))


def test_any_part_is_the_same_part_of_the_whole():
    whole = kept()
    np.testing.assert_array_equal(kept(queries=(2, 5)), whole[:, :, [2, 5]])
    np.testing.assert_array_equal(kept(keys=(7, 0, 3)), whole[:, :, :, [7, 0, 3]])
    np.testing.assert_array_equal(kept(batch=(1,), heads=(2, 0)), whole[1:, [2, 0]])


def test_positions_may_differ_between_sequences():
    positions = jnp.array([[0, 1], [3, 4]])
    both = keep_mask(KEY, 0.3, Place(jnp.arange(2), jnp.arange(3), positions, positions))
    np.testing.assert_array_equal(both[1], kept(batch=(1,), queries=(3, 4), keys=(3, 4))[0])


def test_the_share_that_goes_is_the_rate_and_every_coordinate_counts():
    large = kept(0.3, queries=range(128), keys=range(128))
    assert abs(1 - large.mean() - 0.3) < 4 * np.sqrt(0.21 / large.size)
    for pair in (
        (large[0], large[1]),
        (large[:, 0], large[:, 1]),
        (large[:, :, 0], large[:, :, 1]),
        (large, large.swapaxes(2, 3)),
    ):
        assert abs((pair[0] == pair[1]).mean() - 0.58) < 0.05, "independent draws agree with probability 0.7^2 + 0.3^2"
    assert (kept(rng=jax.random.key(4)) != kept()).any()


def test_what_stays_at_a_rate_stays_at_every_lower_rate():
    assert (kept(0.2) | ~kept(0.6)).all()


@pytest.mark.parametrize("rate", [0.0, 1e-12])
def test_a_rate_of_nothing_keeps_all(rate):
    assert kept(rate).all()


def test_a_rate_of_almost_one_is_taken():
    assert not kept(1 - 1e-12).any()


def test_typed_and_raw_keys_draw_the_same():
    np.testing.assert_array_equal(kept(rng=jax.random.PRNGKey(3)), kept())


def test_what_stays_is_divided_by_the_share_that_does():
    keep = jnp.array([[[[True, False]]]])
    np.testing.assert_allclose(drop(jnp.array([[[[0.5, 0.5]]]]), keep, 0.75), [[[[2.0, 0.0]]]])
