"""The maker of splits: streams apart from each other, and nothing of training held out while there is room."""

import numpy as np

from attention_jax.data.synthetic import draws
from attention_jax.data.synthetic.splits import generated


def numbers(space: int):
    def draw(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
        drawn = rng.integers(space, size=(rows, 1), dtype=np.int32)
        return {"inputs": drawn, "targets": drawn + 1}

    return draw


def made(space: int, **sizes: int) -> dict[str, dict[str, np.ndarray]]:
    splits = generated("numbers", numbers(space), seed=0, **sizes)
    return {split: source.gather(np.arange(len(source))) for split, source in splits.items()}


def test_what_training_has_is_drawn_again_whole():
    splits = made(20_000, train_examples=1000, validation_examples=2000, test_examples=2000)
    train = set(splits["train"]["inputs"].ravel())
    for split in ("validation", "test"):
        drawn = splits[split]["inputs"].ravel()
        assert not train & set(drawn)
        np.testing.assert_array_equal(splits[split]["targets"].ravel(), drawn + 1)


def test_a_small_space_is_left_as_its_law_says():
    splits = made(8, train_examples=1000, validation_examples=2000, test_examples=2000)
    assert set(splits["test"]["inputs"].ravel()) == set(range(8))


def test_a_split_does_not_depend_on_the_size_of_those_before():
    small = made(2**30, train_examples=10, validation_examples=10, test_examples=50)
    large = made(2**30, train_examples=10_000, validation_examples=20, test_examples=50)
    np.testing.assert_array_equal(small["test"]["inputs"], large["test"]["inputs"])
    np.testing.assert_array_equal(small["train"]["inputs"], large["train"]["inputs"][:10])


def test_strings_that_padding_alone_makes_equal_are_not_taken_for_one():
    def draw(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
        return {"inputs": np.zeros((rows, 4), np.int32), "lengths": np.full(rows, rng.choice([2, 4]), np.int32)}

    lengths = set()
    for seed in range(20):
        splits = generated("zeros", draw, train_examples=1, validation_examples=20, test_examples=20, seed=seed)
        lengths.add(len({*splits["validation"].gather(np.arange(20))["lengths"]}))
    assert lengths == {1}


def test_a_draw_without_replacement_takes_all_there_is():
    drawn = draws.distinct(np.random.default_rng(0), (500, 7), low=3, high=10)
    assert drawn.dtype == np.int32
    assert (np.sort(drawn, axis=1) == np.arange(3, 10)).all()
    assert len({*map(tuple, drawn)}) > 400


def test_random_fillers_leave_out_what_each_row_is_told():
    without = np.array([[0, 1, 2], [3, 4, 5]])
    drawn = draws.fillers(np.random.default_rng(0), (2, 600), "random", vocabulary_size=7, without=without)
    assert [set(row) for row in drawn.tolist()] == [{3, 4, 5, 6}, {0, 1, 2, 6}]


def test_a_mixture_pads_the_shorter_and_takes_each_alike():
    def draw(rng: np.random.Generator, rows: int, length: int) -> dict[str, np.ndarray]:
        return {"inputs": np.full((rows, length), length, np.int32), "lengths": np.full(rows, length, np.int32)}

    arrays = draws.mixture(np.random.default_rng(0), 3000, (2, 5), draw)
    assert arrays["inputs"].shape == (3000, 5)
    for row, length in zip(arrays["inputs"].tolist(), arrays["lengths"].tolist(), strict=True):
        assert row == [length] * length + [0] * (5 - length)
    assert abs(np.mean(arrays["lengths"] == 2) - 0.5) < 0.05
    assert np.any(np.diff(arrays["lengths"][:50])), "mixed, and not one after the other"
