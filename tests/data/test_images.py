"""Images: normalised by the training images, decoded exactly, split as the docstring says."""

import numpy as np
import pytest

from attention_jax import data
from attention_jax.data.images import ImageSource, _form, channel_statistics


def test_statistics_are_those_of_the_scaled_pixels():
    images = np.random.default_rng(0).integers(0, 256, (2500, 3, 2, 4), dtype=np.uint8)
    images[..., 1] //= 4
    images[..., 3] = 255  # an opaque alpha: its deviation is given as 1
    mean, std = channel_statistics(images)
    scaled = images / 255
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std[:3], scaled[..., :3].std(axis=(0, 1, 2)), rtol=1e-12)
    assert std[3] == 1


def test_images_are_normalised_when_gathered():
    images = np.random.default_rng(0).integers(0, 256, (50, 5, 4, 3), dtype=np.uint8)
    labels = np.arange(50, dtype=np.int32)
    mean, std = channel_statistics(images)
    batch = ImageSource(images, labels, mean=mean, std=std).gather(np.array([9, 3]))
    assert (batch["image"].dtype, batch["label"].dtype) == (np.float32, np.int32)
    np.testing.assert_allclose(batch["image"], (images[[9, 3]] / 255 - mean) / std, atol=1e-6)
    np.testing.assert_array_equal(batch["label"], [9, 3])


@pytest.fixture(scope="module")
def fashion_mnist(prepared) -> data.Dataset:
    return data.build("tfds_images", dataset="fashion_mnist")


def test_fashion_mnist_has_its_sizes_and_facts(fashion_mnist):
    sizes = {name: len(split) for name, split in fashion_mnist.splits.items()}
    assert sizes == {"train": 55_000, "validation": 5_000, "test": 10_000}
    assert fashion_mnist.facts == {"image_shape": (28, 28, 1), "num_classes": 10}


def test_fashion_mnist_is_normalised_by_its_training_images(fashion_mnist):
    train = fashion_mnist.splits["train"].gather(np.arange(55_000))
    assert train["image"].shape == (55_000, 28, 28, 1)
    assert abs(train["image"].mean(dtype=np.float64)) < 1e-6
    assert abs(train["image"].std(dtype=np.float64) - 1) < 1e-6
    assert np.bincount(train["label"], minlength=10).min() > 5000
    assert np.ptp(train["image"]) * 0.353 == pytest.approx(1, abs=0.01)  # the set's well-known deviation


def test_validation_is_the_end_of_the_train_split(fashion_mnist, prepared):
    import tensorflow_datasets as tfds

    mean, std = channel_statistics(fashion_mnist.splits["train"]._images)
    stored = tfds.data_source("fashion_mnist", split="train", data_dir=prepared, download=False)
    for split, index, position in [("train", 7, 7), ("validation", 0, 55_000), ("validation", 4_999, 59_999)]:
        ours, theirs = fashion_mnist.splits[split].gather(np.array([index])), stored[position]
        assert ours["label"][0] == theirs["label"]
        np.testing.assert_allclose(ours["image"][0], (theirs["image"] / 255 - mean) / std, atol=1e-6)


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("held_out", [0, 60_000])
def test_a_split_without_examples_is_refused(refused, held_out):
    with refused(f"validation_examples {held_out}", "60000 training images", "59999"):
        data.build("tfds_images", dataset="fashion_mnist", validation_examples=held_out)


@pytest.mark.parametrize(
    ("image", "label", "words"),
    [
        ({"shape": (None, None, 3)}, {"num_classes": 2}, ["uint8", "(None, None, 3)", "one shape"]),
        ({"shape": (8, 8, 1), "dtype": np.uint16}, {"num_classes": 2}, ["uint16", "(8, 8, 1)"]),
        ({"shape": (8, 8, 1)}, None, ["label", "class label"]),
    ],
)
def test_images_of_another_form_are_refused(refused, image, label, words):
    from tensorflow_datasets import features

    label_feature = features.ClassLabel(**label) if label else features.Scalar(np.int64)
    with refused("'my_set'", *words):
        _form({"image": features.Image(**image), "label": label_feature}, "my_set")


@pytest.mark.usefixtures("prepared")
def test_a_set_without_labelled_images_is_refused(refused):
    with refused("'scan'", "actions", "image and label"):
        data.build("tfds_images", dataset="scan")
