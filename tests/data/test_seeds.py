"""Every seed from 0 to 2^32 - 1 makes a data set and an order; any other is refused in one line."""

import numpy as np
import pytest

from attention_jax import data
from attention_jax.data.seeds import LARGEST_SEED, check_seed

SMALL = {"train_examples": 8, "validation_examples": 8, "test_examples": 8, "length": 8, "pairs": 1}
SETS = {"mqar": {**SMALL, "vocabulary_size": 16}, "digits": {}}


@pytest.mark.parametrize("name", SETS)
def test_the_largest_seeds_make_data_of_their_own(name):
    drawn = []
    for seed in (2**31 - 1, 2**31, LARGEST_SEED):
        train = data.build(name, seed=seed, **SETS[name]).splits["train"]
        order = data.train_batches(data.ArraySource({"at": np.arange(8)}), batch_size=8, seed=seed)
        drawn.append(next(iter(train.gather(next(order)["at"]).values())))
    assert len({array.tobytes() for array in drawn}) == 3


@pytest.mark.parametrize("seed", [-1, LARGEST_SEED + 1, 2**63, 2**64])
def test_any_other_is_refused(refused, seed):
    for name, options in SETS.items():
        with refused(f"{name} seed={seed}", "at least 0", str(LARGEST_SEED)):
            data.build(name, seed=seed, **options)
    with refused(f"seed={seed}"):
        check_seed(seed, name="seed")
