"""What a data set is to the rooms above: named splits of named arrays, and the facts a model must know."""

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from attention_jax.base.catalogue import Catalogue


class Source(Protocol):
    """One split: `len(source)` examples, reached at random."""

    def __len__(self) -> int: ...

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the examples at `indices` (integers, [B]) as named arrays, each [B, ...]; the same every time."""
        ...


@runtime_checkable
class SourceOfLengths(Source, Protocol):
    """A split whose examples are of a few shapes: those of one length have one shape, and a batch has one length.

    Attributes:
      padded_lengths: [N], the length of each example with its padding; or [N, k], where it has k sequences.
    """

    padded_lengths: np.ndarray


class ArraySource:
    """A split whose arrays are held in memory.

    Args:
      arrays: name to array; all [N, ...] with the same N.

    Raises:
      ValueError: there is no array, or their lengths differ.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"the arrays of a source must be equally long, got {lengths}")
        self._arrays = dict(arrays)
        self._length = next(iter(lengths.values()))

    def __len__(self) -> int:
        return self._length

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the examples at `indices` ([B]) as named arrays, each [B, ...]."""
        return {name: array[indices] for name, array in self._arrays.items()}


class Tokenizer(Protocol):
    """Texts as tokens and back.

    Attributes:
      vocabulary: what each token stands for.
    """

    vocabulary: list[str]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the tokens of each text, without a begin or an end."""
        ...

    def detokenize(self, ids: Iterable[int]) -> str:
        """Returns the text of the tokens before the first end token; padding and begin are left out."""
        ...


@dataclass(frozen=True)
class Dataset:
    """Splits and facts.

    Attributes:
      splits: "train" and "validation" always, "test" where there is one, and further test sets by their own names. The
        fields of an example are, by kind:
        sequences to predict: inputs int32 [B, T], or [B, T, S] where S tokens share a place, targets int32 [B, T],
        weights float32 [B, T] (0 where there is no loss), and where documents share a row segments and positions int32
        [B, T];
        sequences to classify: tokens int32 [B, T], label int32 [B];
        documents to classify: document int32 [B, S, W], sentence_lengths int32 [B, S], label int32 [B];
        sequences to turn into others: source int32 [B, S], inputs, targets int32 [B, T] and weights float32 [B, T];
        images to classify: image float32 [B, H, W, C], label int32 [B].
        Where sequences are padded at their end, lengths int32 [B] says how many tokens of each are real; where an
        example has two, source_lengths and target_lengths. Each field must be read by the model or the task.
      facts: what a model must know. Sequences: vocabulary_size, length (the largest T), and vocabulary (what each token
        stands for) where it is text. Sequences to turn into others: source_length, target_length (the largest S and T)
        in place of length, and the tokens padding, begin and end. Images: image_shape (H, W, C). Classification:
        num_classes, and classes (their names) where they have any.
      tokenizer: between texts and tokens, of sequences that are text.
      notes: lines on what was done with examples that a user should hear of, such as how many were left out.
    """

    splits: dict[str, Source]
    facts: dict[str, Any]
    tokenizer: Tokenizer | None = None
    notes: tuple[str, ...] = ()


data_sets: Catalogue[Callable[..., Dataset]] = Catalogue("data set", "attention_jax.data")

register = data_sets.register


def names() -> list[str]:
    """Returns the name of every registered data set, sorted."""
    return data_sets.names()


def build(name: str, **options: Any) -> Dataset:
    """Returns the data set registered as `name`, built with `options`; the same options give the same object again.

    The same, while the environment's folders of data (TFDS_DATA_DIR, TEXTS_DATA_DIR) are the same.

    Raises:
      Refused: there is no such data set or option, a needed option is missing, or an option's value cannot be used.
    """
    folders = tuple(sorted(item for item in os.environ.items() if item[0].endswith("_DATA_DIR")))
    # What is kept by must be hashable, and a mapping is not.
    mappings = {key: tuple(sorted(of.items())) for key, of in options.items() if isinstance(of, Mapping)}
    others = {key: value for key, value in options.items() if key not in mappings}
    return _built(name, tuple(sorted(others.items())), tuple(sorted(mappings.items())), folders)


# The cells of a comparison share their data: an image set takes seconds to decode. The folders that the environment
# names are part of what is asked for: the same options find other files in others.
@functools.lru_cache(maxsize=4)
def _built(
    name: str,
    options: tuple[tuple[str, Any], ...],
    mappings: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...],
    folders: tuple[tuple[str, str], ...],
) -> Dataset:
    del folders  # the data sets read them themselves
    return data_sets.build(name, **dict(options), **{key: dict(items) for key, items in mappings})
