"""Splits drawn by a seed, with the same share of each class in each, and copies of one example in one split."""

import numpy as np

from attention_jax.base.errors import Refused


def stratified(
    label: np.ndarray,
    group: np.ndarray,
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    owner: str,
    noun: str,
) -> dict[str, np.ndarray]:
    """Returns the examples of each split, rising; no "test" where its fraction is 0.

    Args:
      label: [N], the class of each example, 0 ... C - 1.
      group: [N], a number that copies of one example share: they come into one split, by the label of the first.
      validation_fraction: of the examples of each class, copies counted once, rounded.
      test_fraction: of them.
      seed: of the draw.
      owner: how a message names the file, such as "'own.csv'".
      noun: what an example is, such as "text".

    Raises:
      Refused: the fractions cannot be used, a split has no example, or the train split none of some class.
    """
    shares = {"validation": validation_fraction, "test": test_fraction}
    if validation_fraction <= 0 or test_fraction < 0 or validation_fraction + test_fraction >= 1:
        raise Refused(
            f"validation_fraction {validation_fraction} must be more than 0, test_fraction {test_fraction} 0 or more, "
            "and both together less than 1: use such as 0.1 and 0.1."
        )
    rng = np.random.default_rng(seed)
    names, first, of_group = np.unique(group, return_index=True, return_inverse=True)
    split_of = np.zeros(len(names), np.int64)
    for number in range(label.max() + 1):
        # In the order of the examples.
        members = np.array(sorted(first[label[first] == number]), np.int64)
        drawn = of_group[rng.permutation(members)]
        ends = np.cumsum([round(share * len(members)) for share in shares.values()])
        validation, test, _ = np.split(drawn, ends)
        split_of[validation], split_of[test] = 1, 2
    splits = ("train", "validation", *(["test"] if test_fraction else []))
    parts = {split: np.flatnonzero(split_of[of_group] == place) for place, split in enumerate(splits)}
    lacking = [split for split, part in parts.items() if not len(part)]
    if lacking or len(np.unique(label[parts["train"]])) <= label.max():
        left = f"leave the {lacking[0]} split empty" if lacking else f"leave a class without a {noun} to train on"
        raise Refused(
            f"validation_fraction {validation_fraction} and test_fraction {test_fraction} of the {len(label)} "
            f"{noun}s of {owner} {left}: give more {noun}s, or other fractions."
        )
    return parts


def groups(keys: list[str]) -> np.ndarray:
    """Returns a number for each key, [N], the same for the same key, rising by their first places."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
