"""Labelled images of one shape, from TFDS."""

from typing import Any

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, Source, register
from attention_jax.data.tfds_source import count, open_prepared, read

_IMAGES_AT_ONCE = 1024  # bounds the memory of the statistics, which are float64


@register
def tfds_images(*, dataset: str, validation_examples: int = 5000) -> Dataset:
    """Returns the images of the TFDS set `dataset` (such as "fashion_mnist"): fields image [B, H, W, C] and label [B].

    Pixels are scaled to [0, 1], then normalised by the mean and standard deviation of each channel over the training
    images. The last `validation_examples` of TFDS's train split (stored in a shuffled order) are the validation split;
    TFDS's test split is test, where there is one. A validation split of TFDS's own is not read.

    All images are decoded at once and held as uint8: Fashion-MNIST's 70,000 take about 6 s and 55 MB.

    Args:
      dataset: TFDS name of a set with features image (uint8, one shape) and label.
      validation_examples: held out of the train split.

    Raises:
      Refused: the set is unknown, not prepared or of another form, or `validation_examples` leaves a split empty.
    """
    builder = open_prepared(dataset)
    shape, num_classes = _form(builder.info.features, dataset)
    available = count(builder, "train")
    if not 0 < validation_examples < available:
        raise Refused(
            f"validation_examples {validation_examples} cannot be held out of the {available} training images of "
            f"{dataset!r}: use 1 to {available - 1}."
        )
    images, labels = _decode(builder, "train", shape)
    end = available - validation_examples
    mean, std = channel_statistics(images[:end])
    splits: dict[str, Source] = {
        "train": ImageSource(images[:end], labels[:end], mean=mean, std=std),
        "validation": ImageSource(images[end:], labels[end:], mean=mean, std=std),
    }
    if "test" in builder.info.splits:
        splits["test"] = ImageSource(*_decode(builder, "test", shape), mean=mean, std=std)
    return Dataset(splits=splits, facts={"image_shape": shape, "num_classes": num_classes})


class ImageSource:
    """A split of images held as uint8 and normalised when they are asked for.

    Args:
      images: uint8 [N, H, W, C].
      labels: int32 [N].
      mean, std: [C], of pixels scaled to [0, 1].
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, *, mean: np.ndarray, std: np.ndarray):
        self._images = images
        self._labels = labels
        self._scale = (1 / (255 * std)).astype(np.float32)
        self._shift = (-mean / std).astype(np.float32)

    def __len__(self) -> int:
        return len(self._images)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns image float32 [B, H, W, C], (pixel / 255 - mean) / std, and label int32 [B] at `indices` ([B])."""
        return {"image": self._images[indices] * self._scale + self._shift, "label": self._labels[indices]}


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and standard deviation [C] of images uint8 [N, H, W, C] scaled to [0, 1].

    The standard deviation of a constant channel (an opaque alpha) is given as 1, so that it is normalised to 0.
    """
    total, squares = 0.0, 0.0
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        pixels = images[start : start + _IMAGES_AT_ONCE].astype(np.float64)
        total = total + pixels.sum(axis=(0, 1, 2))
        squares = squares + (pixels**2).sum(axis=(0, 1, 2))
    pixels_in_channel = images.size // images.shape[-1]
    mean = total / pixels_in_channel
    variance = squares / pixels_in_channel - mean**2
    return mean / 255, np.where(variance > 0, np.sqrt(np.maximum(variance, 0)), 255) / 255


def _form(features: Any, name: str) -> tuple[tuple[int, int, int], int]:
    """Returns the image shape (H, W, C) and the number of classes of the set `name` with these TFDS features."""
    if not {"image", "label"} <= set(features):
        raise Refused(f"{name!r} is no set of labelled images: it has {sorted(features)}, needed are image and label.")
    shape = features["image"].shape
    if len(shape) != 3 or None in shape or features["image"].np_dtype != np.uint8:
        raise Refused(
            f"the images of {name!r} are {features['image'].np_dtype.__name__} {shape}, and uint8 images of one shape "
            "(H, W, C) are needed, as fashion_mnist has."
        )
    if not hasattr(features["label"], "num_classes"):
        raise Refused(f"the label of {name!r} is {features['label']}, and a class label is needed.")
    return tuple(shape), features["label"].num_classes


def _decode(builder: Any, split: str, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns all images uint8 [N, H, W, C] and labels int32 [N] of a split."""
    images = np.empty((count(builder, split), *shape), np.uint8)
    labels = np.empty(len(images), np.int32)
    for index, record in enumerate(read(builder, split)):
        images[index] = record["image"]
        labels[index] = record["label"]
    return images, labels
