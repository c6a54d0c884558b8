"""The Vision Transformer: its patches, its class token, its start."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.kernels import Refused
from attention_jax.models.vit import cut_patches
from tests.layers.arrays import apply, changed, normal, random_variables

IMAGE = normal(2, 4, 6, 3)
MODEL = models.build(
    "vit", facts={"image_shape": (4, 6, 3), "num_classes": 5}, patch=2, num_layers=1, num_heads=2, width=8
)


def test_patches_come_row_by_row_with_their_pixels_row_by_row():
    patches = np.asarray(cut_patches(IMAGE, 2))
    assert patches.shape == (2, 6, 12)
    image = np.asarray(IMAGE)
    for batch in range(2):
        for row in range(2):
            for column in range(3):
                pixels = [image[batch, 2 * row + y, 2 * column + x] for y in range(2) for x in range(2)]
                np.testing.assert_array_equal(patches[batch, 3 * row + column], np.concatenate(pixels))


def test_patches_of_a_row_are_the_rows():
    patches = np.asarray(cut_patches(IMAGE, (1, 6)))
    np.testing.assert_array_equal(patches, np.asarray(IMAGE).reshape(2, 4, 18))


@pytest.mark.parametrize("patch", [0, -2, 3, 4, 5, (1, 4), (3, 6), (0, 6)])
def test_patches_that_do_not_divide_the_image_are_refused(patch):
    with pytest.raises(Refused, match=rf"^patches of {re.escape(str(patch))} pixels do not divide an image of 4x6"):
        cut_patches(IMAGE, patch)


def test_the_head_and_the_class_token_start_at_zero():
    logits, variables = jax.jit(MODEL.init_with_output)(jax.random.key(0), IMAGE)
    params = variables["params"]
    assert logits.shape == (2, 5)
    assert (logits == 0).all()
    assert (params["head"]["kernel"] == 0).all()
    assert (params["class_token"] == 0).all()
    assert params["position"]["embedding"].shape == (1 + 6, 8)


def test_the_output_of_the_class_token_is_what_is_classified():
    params = random_variables(MODEL, IMAGE)["params"]
    assert float(jnp.ptp(apply(MODEL, {"params": params}, IMAGE), axis=0).max()) > 1e-3
    # Blocks that add nothing leave the class token, at the first position, as it came in.
    block = {name: jax.tree.map(jnp.zeros_like, layer) for name, layer in params["block_0"].items()}
    params = {**params, "block_0": block}
    token = params["class_token"][0, 0] + params["position"]["embedding"][0]
    normed = (token - token.mean()) / jnp.sqrt(token.var() + 1e-6) * params["norm"]["scale"] + params["norm"]["bias"]
    expected = normed @ params["head"]["kernel"] + params["head"]["bias"]
    logits = apply(MODEL, {"params": params}, IMAGE)
    np.testing.assert_allclose(logits, jnp.stack([expected, expected]), rtol=1e-5, atol=1e-5)


def test_without_a_class_token_the_patches_lie_in_a_grid_and_their_mean_is_classified():
    pooled = MODEL.clone(pooling="mean", patch=(1, 2))
    variables = random_variables(pooled, IMAGE)
    assert "class_token" not in variables["params"]
    assert variables["params"]["position"]["embedding"].shape == (4 * 3, 8)
    everywhere = apply(pooled, variables, IMAGE)
    # A window of 3 x 3 on a grid of 4 x 3 leaves one row out; windows that are the whole grid leave out nothing.
    for attention, same in (("neighbourhood:window=3", False), ("swin:window=3", False), ("axial", False)):
        found = apply(changed(pooled, attention=attention), variables, IMAGE)
        assert bool(jnp.allclose(found, everywhere, atol=1e-5)) is same, attention
    square = MODEL.clone(pooling="mean", patch=(2, 3))
    variables = random_variables(square, IMAGE)
    found = (apply(changed(square, attention=one), variables, IMAGE) for one in ("swin:window=2", "scaled_dot"))
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("attention", ["swin", "neighbourhood"])
def test_a_class_token_lies_in_no_grid(attention):
    said = f"^{attention} goes by rows and columns, .* vit pooling='mean' .a class token lies in no grid"
    with pytest.raises(Refused, match=said):
        jax.eval_shape(lambda: changed(MODEL, attention=attention).init(jax.random.key(0), IMAGE))


def test_bfloat16_keeps_parameters_and_logits_in_float32():
    half = changed(MODEL, dtype="bfloat16")
    logits, variables = jax.eval_shape(lambda: half.init_with_output(jax.random.key(0), IMAGE))
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
