"""The 8x8 handwritten digits that come with scikit-learn, as images or read pixel by pixel as tokens."""

import math
from typing import Any

import numpy as np

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.data.dataset import ArraySource, Dataset, register
from attention_jax.data.seeds import check_seed

_CLASSES = 10
_FORMS = ("tokens", "image")


@register
def digits(
    *, form: str = "tokens", seed: int = 0, validation_fraction: float = 0.2, test_fraction: float = 0.2
) -> Dataset:
    """Returns 1797 digits with fields tokens [B, 64] or image [B, 8, 8, 1], and label [B] (0 to 9).

    Tokens are the grey levels 0 to 16, row by row; an image is the same levels / 8 - 1.

    The splits are stratified: by default 1077, 360 and 360 examples, with the ten digits in equal proportions.

    Source: `sklearn.datasets.load_digits`, the test part of UCI's "Optical Recognition of Handwritten Digits".

    Args:
      form: "tokens" or "image".
      seed: fixes which example is in which split; 0 to 2^32 - 1.
      validation_fraction, test_fraction: of all examples, rounded up.

    Raises:
      Refused: there is no such form, a split would hold less than one example of each digit, or the seed is out of its
        range.
    """
    if form not in _FORMS:
        raise Refused(f"digits form {form!r}: it is {' or '.join(_FORMS)}.{did_you_mean(form, _FORMS)}")
    # 1.4 s to import, which every command that names no digits would pay.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    held_out = math.ceil(validation_fraction * len(labels)), math.ceil(test_fraction * len(labels))
    if min(*held_out, len(labels) - sum(held_out)) < _CLASSES:
        raise Refused(
            f"digits with validation_fraction {validation_fraction} and test_fraction {test_fraction} leaves a split "
            f"of the {len(labels)} examples with fewer than {_CLASSES}: use fractions such as 0.2 and 0.2."
        )
    check_seed(seed, name="digits seed")
    rest, test = train_test_split(np.arange(len(labels)), test_size=held_out[1], stratify=labels, random_state=seed)
    train, validation = train_test_split(rest, test_size=held_out[0], stratify=labels[rest], random_state=seed)
    field, values = form, pixels.astype(np.int32)
    facts: dict[str, Any] = {"vocabulary_size": 17, "length": 64}
    if form == "image":
        values, facts = (pixels.reshape(-1, 8, 8, 1) / 8 - 1).astype(np.float32), {"image_shape": (8, 8, 1)}
    label = labels.astype(np.int32)
    parts = {"train": train, "validation": validation, "test": test}
    return Dataset(
        splits={split: ArraySource({field: values[part], "label": label[part]}) for split, part in parts.items()},
        facts={**facts, "num_classes": _CLASSES},
    )
