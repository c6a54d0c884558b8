"""Several numbers of pairs: as many examples of each, none of them those of another, and what is refused."""

import numpy as np
import pytest

from attention_jax import data
from attention_jax.base.errors import Refused

SIZES = {"vocabulary_size": 64, "length": 32, "train_examples": 31, "validation_examples": 9, "test_examples": 6}


def counts(dataset, split: str) -> list[int]:
    source = dataset.splits[split]
    return np.count_nonzero(source.gather(np.arange(len(source)))["weights"], axis=1).tolist()


def test_each_number_of_pairs_has_its_share_of_every_split():
    dataset = data.build("mixed_mqar", pairs=(2, 4, 8), **SIZES)
    assert dataset.facts == {"vocabulary_size": 64, "length": 32}
    assert counts(dataset, "train") == [2] * 11 + [4] * 10 + [8] * 10
    assert counts(dataset, "test") == [2, 2, 4, 4, 8, 8]
    assert set(dataset.splits["train"].gather(np.arange(2))) == {"inputs", "targets", "weights"}


def test_fillers_are_those_of_mqar():
    rows = data.build("mixed_mqar", pairs=(2, 4), fillers="zero", **SIZES).splits["test"].gather(np.arange(6))
    asked = rows["weights"][:, 8:] > 0
    np.testing.assert_array_equal(rows["inputs"][:, 8:] > 0, asked)


def test_another_seed_or_number_of_pairs_gives_other_examples():
    first, second = (data.build("mixed_mqar", pairs=(2, 4), seed=seed, **SIZES) for seed in (0, 1))
    rows = [dataset.splits["train"].gather(np.arange(31))["inputs"] for dataset in (first, second)]
    assert not np.array_equal(*rows)
    assert not np.array_equal(rows[0][0, :4], rows[0][16, :4])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pairs": ()}, "give different numbers of pairs"),
        ({"pairs": (4, 4)}, "give different numbers of pairs"),
        ({"pairs": (2, 4, 8), "test_examples": 2}, "test_examples 2 for pairs"),
        ({"pairs": (4, 16)}, "too short for 16 pairs"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_mixed_is_refused(changes, said):
    with pytest.raises(Refused, match=said):
        data.build("mixed_mqar", **{**SIZES, **changes})
