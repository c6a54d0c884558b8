"""Sentences whose words have a tag each: parts of speech, names."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.buckets import lengths_of
from attention_jax.data.dataset import Dataset, Source, register
from attention_jax.data.numbered import Ragged, Vocabulary
from attention_jax.data.sentence_files import Sentence
from attention_jax.data.sentences import SpeltWords, check_sizes, lower, sentences_of
from attention_jax.data.spelling import COUNT, Spelling

OUTSIDE = "O"


@register
def tagged_words(
    *,
    train: str,
    validation: str,
    test: str | None = None,
    dataset: str | None = None,
    fields: Mapping[str, Any] | None = None,
    columns: tuple[int, int] = (2, 4),
    outside: tuple[str, ...] = (),
    context: int,
    characters: int = 20,
    min_count: int = 2,
    buckets: int | tuple[int, ...] = 4,
) -> Dataset:
    """Returns sentences of words with a tag each, as `TaggedWords.gather` lays them out.

    The vocabulary is "<padding>", "<unknown>" and the sorted words of the training sentences in lower case, the classes
    are the sorted training tags. The sentences of a split are in the order of their words, so that it is the same
    wherever they are read from.

    Args:
      train, validation, test: files, as of `read_sentences`, or with `dataset` its splits; test None is no test split.
      dataset: TFDS's name of a prepared set, such as "universal_dependencies/en_ewt".
      fields: which of its fields are the "words" and the "tags"; None is tokens and upos.
      columns: of a file, those of the word and of the tag, from 1; not read of a TFDS set.
      outside: tags that are read as "O", such as those of annotators alone.
      context: the most words of a sentence; a longer one is refused, since each word is scored.
      characters: the most bytes of a word with a mark at each end, for models that read them; 0 is without.
      min_count: words that training has less often are unknown.
      buckets: how many lengths sentences are padded to, or the lengths: see `sentence_pairs`.

    Raises:
      Refused: a file or a set cannot be read, a sentence is longer than `context`, a tag is not in training, or an
        option cannot be used.
    """
    check_sizes("tagged_words", context=context, characters=characters, min_count=min_count)
    read = sentences_of({"train": train, "validation": validation, "test": test}, dataset, fields, columns)
    parts = {split: _with_outside(part, outside) for split, part in read.items()}
    classes = sorted({tag for sentence in parts["train"] for tag in sentence.tags})
    for split, part in parts.items():
        _check_sentences(part, classes, context, split)
    owner = repr(train if dataset is None else dataset)
    vocabulary = Vocabulary(lower(parts["train"]), owner=owner, min_count=min_count)
    spelling = Spelling((word for part in parts.values() for one in part for word in one.words), longest=characters)
    lengths = np.array([len(sentence.words) for sentence in parts["train"]])
    chosen = lengths_of(buckets, longest=context, lengths=lengths)
    splits: dict[str, Source] = {
        split: TaggedWords(SpeltWords(part, vocabulary, spelling, chosen), classes) for split, part in parts.items()
    }
    facts = {"vocabulary": vocabulary.tokens, "vocabulary_size": len(vocabulary), "length": context}
    facts |= {"character_vocabulary_size": COUNT if characters else 0}
    return Dataset(splits, {**facts, "classes": classes, "num_classes": len(classes)})


class TaggedWords:
    """Sentences with a tag of each word, padded when they are asked for.

    Attributes:
      padded_lengths: [N], the words of each with its padding.
      sentences: each as it was read.
    """

    def __init__(self, words: SpeltWords, classes: Sequence[str]):
        """Keeps sentences.

        Args:
          words: theirs.
          classes: the names of the tags.
        """
        number = {name: place for place, name in enumerate(classes)}
        self._words, self.sentences, self.padded_lengths = words, words.sentences, words.padded_lengths
        self._tags = Ragged([np.array([number[tag] for tag in one.tags], np.int32) for one in self.sentences])

    def __len__(self) -> int:
        return len(self._words)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the sentences `indices` ([B]) as `SpeltWords.gather` does, with tags int32 [B, T], 0 at padding."""
        batch = self._words.gather(indices)
        return {**batch, "tags": self._tags.padded(indices, width=batch["tokens"].shape[1])}


def _with_outside(part: list[Sentence], outside: tuple[str, ...]) -> list[Sentence]:
    return [one._replace(tags=tuple(OUTSIDE if tag in outside else tag for tag in one.tags)) for one in part]


def _check_sentences(part: list[Sentence], classes: Sequence[str], context: int, split: str) -> None:
    known = {*classes}
    for sentence in part:
        if len(sentence.words) > context:
            raise Refused(
                f"{sentence.where} has {len(sentence.words)} words, more than data.context={context}: give "
                f"context={len(sentence.words)}."
            )
        for tag in sentence.tags:
            if tag not in known:
                raise Refused(
                    f"{sentence.where}, {split}, has the tag {tag!r}, which no training sentence has: add one that "
                    "has it, or read it as O with data.outside."
                )
