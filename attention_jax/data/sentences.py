"""Sentences as words that are spelt, for models that learn of text alone: a language model in both directions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.buckets import lengths_of
from attention_jax.data.dataset import Dataset, Source, register
from attention_jax.data.labelled_texts import WORD
from attention_jax.data.numbered import Ragged, Vocabulary
from attention_jax.data.packing import bucketed
from attention_jax.data.running_text import running_texts
from attention_jax.data.sentence_files import Sentence, read_sentences, tfds_sentences
from attention_jax.data.spelling import COUNT, Spelling

FIELDS = {"words": "tokens", "tags": "upos"}


@register
def sentences(
    *,
    train: str,
    validation: str,
    test: str | None = None,
    dataset: str | None = None,
    fields: Mapping[str, Any] | None = None,
    columns: tuple[int, int] = (2, 4),
    texts: tuple[str, ...] = (),
    context: int,
    characters: int = 20,
    min_count: int = 2,
    buckets: int | tuple[int, ...] = 4,
) -> Dataset:
    """Returns sentences of words, as `SpeltWords.gather` lays them out, from where `tagged_words` reads its own.

    The vocabulary is "<padding>", "<unknown>" and the sorted words of training in lower case. Sentences and lines of
    more than `context` words are cut into parts of at most that many.

    Args:
      train, validation, test, dataset, fields, columns, characters, buckets: see `tagged_words`; tags are not read.
      texts: further training text, sources as of `running_texts`, each line a sentence of its words and marks.
      context: the most words of a sentence.
      min_count: words that training has less often are unknown.

    Raises:
      Refused: a file, a set or a source cannot be read, or an option cannot be used.
    """
    check_sizes("sentences", context=context, characters=characters, min_count=min_count)
    read = sentences_of({"train": train, "validation": validation, "test": test}, dataset, fields, columns)
    lines = [Sentence(tuple(WORD.findall(line)), (), source) for source in texts for line in running_texts(source)]
    read["train"] = [*read["train"], *lines]
    parts = {split: [part for one in of for part in _cut(one, context)] for split, of in read.items()}
    owner = repr(train if dataset is None else dataset)
    vocabulary = Vocabulary(lower(parts["train"]), owner=owner, min_count=min_count)
    spelling = Spelling((word for part in parts.values() for one in part for word in one.words), longest=characters)
    lengths = np.array([len(sentence.words) for sentence in parts["train"]])
    chosen = lengths_of(buckets, longest=context, lengths=lengths)
    splits: dict[str, Source] = {split: SpeltWords(part, vocabulary, spelling, chosen) for split, part in parts.items()}
    facts = {"vocabulary": vocabulary.tokens, "vocabulary_size": len(vocabulary), "length": context}
    return Dataset(splits, {**facts, "character_vocabulary_size": COUNT if characters else 0})


class SpeltWords:
    """Sentences of words, padded when they are asked for.

    Attributes:
      padded_lengths: [N], the words of each with its padding.
      sentences: each as it was read, in the order of their words.
    """

    def __init__(
        self, sentences: Sequence[Sentence], vocabulary: Vocabulary, spelling: Spelling, buckets: Sequence[int]
    ):
        """Keeps sentences.

        Args:
          sentences: in any order.
          vocabulary: numbers their words in lower case.
          spelling: has each of their words.
          buckets: the lengths that they are padded to, rising.
        """
        self.sentences = sorted(sentences, key=lambda sentence: sentence[:2])
        self._words = Ragged([vocabulary.numbers(words) for words in lower(self.sentences)])
        self._forms = Ragged([spelling.numbers(sentence.words) for sentence in self.sentences])
        self._spelt = spelling.table
        self.padded_lengths = bucketed(self._words.lengths, buckets)

    def __len__(self) -> int:
        return len(self.sentences)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the sentences `indices` ([B]), all int32, padded with 0: tokens [B, T], lengths [B], and where words
        are spelt characters [B, T, C].
        """
        width = int(self.padded_lengths[indices].max())
        batch = {"tokens": self._words.padded(indices, width=width), "lengths": self._words.lengths[indices]}
        if self._spelt.size:
            batch["characters"] = self._spelt[self._forms.padded(indices, width=width)]
        return batch


def sentences_of(
    names: Mapping[str, str | None],
    dataset: str | None,
    fields: Mapping[str, Any] | None,
    columns: tuple[int, int],
) -> dict[str, list[Sentence]]:
    """Returns the sentences of each split that is named, from files or of a TFDS set; options as of `tagged_words`.

    Raises:
      Refused: a file or the set cannot be read, or the options do not fit each other.
    """
    if min(columns) < 1:
        raise Refused(f"data.columns={columns}: they are counted from 1.")
    if fields is not None and (dataset is None or {*fields} != {*FIELDS}):
        raise Refused(f"data.fields={dict(fields)}: give words and tags, such as {FIELDS}, and a data.dataset.")
    given = {split: name for split, name in names.items() if name is not None}
    if dataset is None:
        return {split: read_sentences(name, columns) for split, name in given.items()}
    return {split: tfds_sentences(dataset, name, fields or FIELDS) for split, name in given.items()}


def lower(sentences: Sequence[Sentence]) -> list[list[str]]:
    """Returns the words of sentences in lower case."""
    return [[word.lower() for word in sentence.words] for sentence in sentences]


def check_sizes(owner: str, **sizes: int) -> None:
    """Checks context, characters and min_count; raises Refused where one cannot be used."""
    least = {"context": 1, "characters": 0, "min_count": 1}
    for name, value in sizes.items():
        if value < least[name]:
            raise Refused(f"{owner} {name}={value}: give at least {least[name]}.")
    if 0 < sizes["characters"] < 3:
        raise Refused(f"{owner} characters={sizes['characters']}: a word has two marks, so give 3 or more, or 0.")


def _cut(sentence: Sentence, longest: int) -> list[Sentence]:
    words = sentence.words
    return [sentence._replace(words=words[at : at + longest], tags=()) for at in range(0, len(words), longest)]
