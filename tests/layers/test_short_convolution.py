"""Short convolutions: what they see is what the mask lets them see, gradients and NaN included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import quick_jit
from attention_jax.kernels import Causal, Padding, Segments, Sizes, Window, lookup
from attention_jax.kernels.mask_algebra import Axis
from attention_jax.layers.short_convolution import Past, ShortConvolution, kept_bytes, reach_of
from tests.layers.arrays import normal

BATCH, TOKENS = 2, 7
CANON = lookup("scaled_dot:recipe=canon")
MASKS = {
    "causal": Causal(),
    "window": Causal() & Window(2),
    "lengths": Causal() & Padding(jnp.array([5, 7])),
    "holes": Causal() & Padding(jnp.array([[True, False, True, True, False, True, True]])),
    "documents": Causal() & Segments(jnp.array([[1, 1, 2, 2, 2, 3, 0], [1, 2, 2, 2, 2, 2, 2]])),
    "other documents": Causal() & Segments(jnp.array([[1, 1, 2, 2, 2, 2, 2]]), jnp.array([[1, 2, 2, 1, 2, 2, 1]])),
    "both": Causal() & Padding(jnp.array([6, 3])) & Segments(jnp.array([[1, 1, 2, 2, 2, 2, 2]])),
}
TAPS = normal(4, 3, seed=1)


def convolved(inputs: jax.Array, mask: object) -> jax.Array:
    reach = reach_of(mask, TOKENS, variant=CANON, in_steps=False)
    return ShortConvolution().apply({"params": {"taps": TAPS}}, Past().around("query", inputs), reach)


@pytest.mark.parametrize("name", MASKS)
def test_a_token_is_convolved_with_those_of_the_last_four_that_it_sees_and_no_other_has_a_gradient(name):
    mask, index = MASKS[name], jnp.arange(TOKENS)
    axis = Axis(index, index[None])
    near = np.tril(np.ones((TOKENS, TOKENS), bool)) & ~np.tril(np.ones((TOKENS, TOKENS), bool), -4)
    seen = np.broadcast_to(np.asarray(mask.visible(axis, axis))[:, 0] & near, (BATCH, TOKENS, TOKENS))
    gradients = quick_jit(jax.jacrev(lambda inputs: convolved(inputs, mask).sum(-1)))(normal(BATCH, TOKENS, 3))
    for row in range(BATCH):
        np.testing.assert_array_equal(np.abs(gradients[row, :, row]).max(-1) > 0, seen[row])
    distance = index[:, None] - index
    expected = np.where(seen[..., None], np.asarray(TAPS)[3 - np.clip(distance, 0, 3)], 0)
    np.testing.assert_allclose([gradients[row, :, row] for row in range(BATCH)], expected, rtol=1e-6)


def test_nan_in_padding_reaches_nobody():
    inputs = normal(BATCH, TOKENS, 3).at[0, 5:].set(jnp.nan)
    out = quick_jit(lambda inputs: convolved(inputs, MASKS["lengths"]))(inputs)
    assert bool(jnp.isfinite(out).all())


def test_what_is_kept_are_the_last_three_real_tokens_of_each_row():
    inputs, lengths = jnp.arange(1.0, 15).reshape(2, 7, 1), jnp.array([1, 5])
    past = Past(lengths=lengths)
    past.around("value", inputs)
    assert past.after["value"][..., 0].tolist() == [[0, 0, 1], [10, 11, 12]]
    later = Past(before=past.after, lengths=jnp.array([0, 2]))
    assert later.around("value", inputs)[1, :4, 0].tolist() == [10, 11, 12, 8]
    assert later.after["value"][..., 0].tolist() == [[0, 0, 1], [12, 8, 9]]


def test_what_a_layer_holds_is_three_tokens_of_each_array():
    sizes = Sizes(4, 2, 8, 8, 8)
    held = kept_bytes(lookup("gated_delta_net"), sizes, width=32, dtype=jnp.dtype(jnp.float32))
    assert held == 3 * (4 + 2 + 2) * 8 * 4
    assert kept_bytes(CANON, sizes, width=32, dtype=jnp.dtype(jnp.bfloat16)) == 3 * (32 + (4 + 2 + 2) * 8) * 2
    assert kept_bytes(lookup("retention"), sizes, width=32, dtype=jnp.dtype(jnp.float32)) == 0
