"""Splits of generated examples: from independent streams of one seed, and none of training held out as well."""

from collections.abc import Callable

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import ArraySource, Source
from attention_jax.data.seeds import check_seed

Arrays = dict[str, np.ndarray]
Draw = Callable[[np.random.Generator, int], Arrays]

_ROWS_AT_ONCE = 8192  # bounds the memory of what a draw needs beside its result
# Of the held-out examples, the share that may be in the train split before its space counts as too small to avoid it.
_COVERED = 0.1


def generated(
    name: str,
    draw: Draw,
    *,
    train_examples: int,
    validation_examples: int,
    test_examples: int,
    seed: int,
    draw_test: Draw | None = None,
    draw_validation: Draw | None = None,
    by_length: bool = False,
    told_apart_by: str | None = None,
) -> dict[str, Source]:
    """Returns the splits train, validation and test of a generator, each from a stream of its own.

    A validation or test example that the train split holds is drawn again, unless the train split holds more than one
    in ten of them: then there are too few different examples for that, as of short strings of bits.

    Args:
      name: of the data set, for messages.
      draw: (generator of random numbers, rows) -> arrays [rows, ...], "inputs" or "tokens" among them.
      train_examples, validation_examples, test_examples: rows of each split.
      seed: fixes everything; 0 to 2^32 - 1.
      draw_test, draw_validation: of these splits, where they differ.
      by_length: whether "lengths" says how many tokens a row has, for batches of one length each without padding.
      told_apart_by: the array that makes two examples different; None is "inputs", or else "tokens".

    Raises:
      Refused: a split has no example, or the seed is out of its range.
    """
    sizes = {"train": train_examples, "validation": validation_examples, "test": test_examples}
    for split, examples in sizes.items():
        if examples < 1:
            raise Refused(f"{name} needs at least 1 example in each split, got {split}_examples {examples}.")
    check_seed(seed, name=f"{name} seed")
    splits: dict[str, Source] = {}
    in_train = np.empty(0, np.uint64)
    for stream, (split, examples) in enumerate(sizes.items()):
        draw_split = {"test": draw_test, "validation": draw_validation}.get(split) or draw
        rng = np.random.default_rng([seed, stream])
        starts = range(0, examples, _ROWS_AT_ONCE)
        blocks = [draw_split(rng, min(_ROWS_AT_ONCE, examples - start)) for start in starts]
        arrays = {field: np.concatenate([block[field] for block in blocks]) for field in blocks[0]}
        if split == "train":
            in_train = np.unique(_fingerprints(arrays, told_apart_by))
        else:
            _draw_again(arrays, in_train, draw_split, rng, told_apart_by)
        splits[split] = OfLengths(arrays) if by_length else ArraySource(arrays)
    return splits


class OfLengths:
    """Rows of several lengths without padding: a batch has the rows of one length, and no array "lengths".

    Args:
      arrays: name to array; "lengths" [N], and all others [N, T], a row's tokens first.
    """

    def __init__(self, arrays: Arrays):
        self.padded_lengths = arrays["lengths"]
        self._arrays = {name: array for name, array in arrays.items() if name != "lengths"}

    def __len__(self) -> int:
        return len(self.padded_lengths)

    def gather(self, indices: np.ndarray) -> Arrays:
        """Returns the rows `indices` ([B]), cut to the longest of them: arrays [B, T]."""
        longest = int(self.padded_lengths[indices].max())
        return {name: array[indices, :longest] for name, array in self._arrays.items()}


def _draw_again(
    arrays: Arrays, in_train: np.ndarray, draw: Draw, rng: np.random.Generator, told_apart_by: str | None
) -> None:
    """Replaces the rows of `arrays` that are in the train split, in place."""
    repeated = np.isin(_fingerprints(arrays, told_apart_by), in_train)
    if repeated.mean() > _COVERED:
        return
    while repeated.any():
        fresh = draw(rng, int(repeated.sum()))
        for name, array in arrays.items():
            array[repeated] = fresh[name]
        repeated = np.isin(_fingerprints(arrays, told_apart_by), in_train)


def _fingerprints(arrays: Arrays, name: str | None) -> np.ndarray:
    """Returns a number of each row's tokens and of how many are real, uint64 [N]; padding is 0 and does not count."""
    tokens = arrays[name or ("inputs" if "inputs" in arrays else "tokens")]
    tokens = tokens.reshape(len(tokens), -1)
    if tokens.dtype == np.float32:
        tokens = tokens.view(np.uint32)
    lengths = arrays.get("lengths", np.full(len(tokens), tokens.shape[1]))
    factors = np.random.default_rng(0).integers(1 << 63, size=1 + tokens.shape[1], dtype=np.uint64) * np.uint64(2) + 1
    return tokens.astype(np.uint64) @ factors[1:] + lengths.astype(np.uint64) * factors[0]
