"""Splits by class, with copies of one example in one split."""

import numpy as np
import pytest

from attention_jax.data.stratified import groups, stratified

OPTIONS = {"validation_fraction": 0.2, "test_fraction": 0.2, "owner": "'own.csv'", "noun": "text"}


def test_each_class_has_its_share_and_the_seed_draws():
    label = np.repeat([0, 1], [50, 10])
    parts = stratified(label, np.arange(60), seed=0, **OPTIONS)
    assert {split: np.bincount(label[part]).tolist() for split, part in parts.items()} == {
        "train": [30, 6],
        "validation": [10, 2],
        "test": [10, 2],
    }
    assert sorted(np.concatenate([*parts.values()])) == [*range(60)]
    assert (parts["test"] != stratified(label, np.arange(60), seed=1, **OPTIONS)["test"]).any()


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_one_example_are_in_one_split_whatever_their_label(seed):
    rng = np.random.default_rng(seed)
    group, label = rng.integers(0, 30, 200), rng.integers(0, 3, 200)
    group = groups([str(number) for number in group])
    parts = stratified(label, group, seed=seed, **OPTIONS)
    assert sorted(np.concatenate([*parts.values()])) == [*range(200)]
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not {*group[parts[one]]} & {*group[parts[other]]}


def test_groups_are_numbered_by_their_first_places():
    assert groups(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]


def test_a_class_with_copies_of_another_classs_examples_alone_is_refused(refused):
    label, group = np.array([0] * 20 + [1]), np.array([*range(20), 0])
    first = stratified(label[:20], group[:20], seed=0, **OPTIONS)
    copied = first["test"][0]
    group[20] = copied
    with refused("a class without a text to train on", "'own.csv'"):
        stratified(label, group, seed=0, **OPTIONS)
