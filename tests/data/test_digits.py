"""The digits: every example in one split, in equal proportions, as tokens."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from attention_jax import data


def everything(source: data.Source) -> dict[str, np.ndarray]:
    return source.gather(np.arange(len(source)))


def test_sizes_fields_and_facts():
    dataset = data.build("digits")
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": 1077,
        "validation": 360,
        "test": 360,
    }
    assert dataset.facts == {"vocabulary_size": 17, "length": 64, "num_classes": 10}
    batch = everything(dataset.splits["train"])
    assert (batch["tokens"].dtype, batch["tokens"].shape) == (np.int32, (1077, 64))
    assert (batch["label"].dtype, batch["label"].shape) == (np.int32, (1077,))
    assert (batch["tokens"].min(), batch["tokens"].max()) == (0, 16)


def test_images_are_the_same_digits():
    tokens, images = (data.build("digits", form=form) for form in ("tokens", "image"))
    assert images.facts == {"image_shape": (8, 8, 1), "num_classes": 10}
    for split in ("train", "validation", "test"):
        as_tokens, as_image = everything(tokens.splits[split]), everything(images.splits[split])
        assert as_image["image"].dtype == np.float32
        np.testing.assert_array_equal(as_image["image"].reshape(-1, 64), as_tokens["tokens"] / 8 - 1)
        np.testing.assert_array_equal(as_image["label"], as_tokens["label"])


def test_an_unknown_form_is_refused(refused):
    with refused("digits form 'images'", "tokens or image", "'image'"):
        data.build("digits", form="images")


def test_the_splits_are_the_whole_set_each_example_once():
    parts = [everything(split) for split in data.build("digits", seed=1).splits.values()]
    ours = np.concatenate([np.column_stack([part["tokens"], part["label"]]) for part in parts])
    theirs = np.column_stack(load_digits(return_X_y=True)).astype(np.int32)
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_the_splits_are_stratified():
    for split in data.build("digits").splits.values():
        counts = np.bincount(everything(split)["label"], minlength=10) / len(split)
        assert np.ptp(counts) < 0.02


def test_the_seed_fixes_the_splits():
    first, again, other = (everything(data.build("digits", seed=seed).splits["test"]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first["tokens"], again["tokens"])
    assert (first["tokens"] != other["tokens"]).any()


@pytest.mark.parametrize(
    "options",
    [
        {"validation_fraction": 0.0},
        {"test_fraction": -0.2},
        {"validation_fraction": 0.5, "test_fraction": 0.5},
        {"validation_fraction": 0.001},
    ],
)
def test_fractions_that_empty_a_split_are_refused(refused, options):
    with refused("digits", *(f"{name} {value}" for name, value in options.items())):
        data.build("digits", **options)


def test_a_negative_seed_is_refused(refused):
    with refused("digits seed", "-1"):
        data.build("digits", seed=-1)
