"""Texts and their summaries, in words; those that the vocabulary lacks have ids of their own in each example."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.data.buckets import lengths_of
from attention_jax.data.dataset import Dataset, Source, register
from attention_jax.data.labelled_texts import check_text_options, tokenized
from attention_jax.data.numbered import MARKS, Ragged, Vocabulary
from attention_jax.data.packing import bucketed
from attention_jax.data.pairs import PairTexts
from attention_jax.data.table import Form, read_table, separator_of
from attention_jax.data.text import UNKNOWN, place
from attention_jax.data.tfds_source import open_prepared, read

OWN_MARKS = ("<begin>", "<end>")
_UNKNOWN = MARKS.index(UNKNOWN)
_BEGIN, _END = len(MARKS), len(MARKS) + 1


@register
def summaries(
    *,
    train: str,
    validation: str,
    test: str | None = None,
    folder: str = ".",
    dataset: str | None = None,
    source: str = "source",
    target: str = "target",
    source_length: int = 100,
    target_length: int = 20,
    tokens: str = "lower_words",
    min_count: int = 5,
    extended: bool = True,
    buckets: int | tuple[int, ...] = 4,
) -> Dataset:
    """Returns texts and summaries, as `Summaries.gather` lays them out.

    The vocabulary is "<padding>", "<unknown>", "<begin>", "<end>" and the sorted words of training, of both. A source
    is cut to its first words, a summary too, but that a training example with a longer one is left out; the notes say
    how many.

    Args:
      train, validation, test: the names of tables, a text and its summary a row; test None is no test split.
      folder: of the tables; where there is none of this path, they are looked for within the folder that the
        environment's TEXTS_DATA_DIR names.
      dataset: TFDS's name of a prepared set, such as "aeslc", whose splits the three then name.
      source, target: the columns of the two, or TFDS's fields.
      source_length: the most words that are read of a text.
      target_length: the most tokens of a summary, its end among them; at least 2.
      tokens: see `text_classification`.
      min_count: words that training has less often are unknown.
      extended: whether a word of a source that the vocabulary lacks has an id of its own, V + its number in the
        source, and so in the targets; False is for models that do not copy.
      buckets: how many lengths sources are padded to, or the lengths: see `sentence_pairs`.

    Raises:
      Refused: a file cannot be read or is no such table, a text or a summary is empty, no training example is left, or
        an option cannot be used.
    """
    owner = "summaries"
    check_text_options(source_length, (), tokens=tokens, too_long="cut", min_count=min_count, owner=owner)
    if target_length < 2:
        raise Refused(f"{owner} target_length={target_length}: give at least 2, for a word and the end.")
    names = {"train": train, "validation": validation, **({} if test is None else {"test": test})}
    columns = source, target
    read_in = (
        {split: _from_table(str(place(f"{folder}/{name}")), columns) for split, name in names.items()}
        if dataset is None
        else {split: _from_tfds(dataset, name, columns, folder) for split, name in names.items()}
    )
    parts = {split: _tokens(part, tokens, (source_length, target_length - 1)) for split, part in read_in.items()}
    kept = parts["train"].fitting(target_length - 1)
    lost = len(parts["train"].sources) - len(kept.sources)
    if not kept.sources:
        raise Refused(f"no training summary of {train!r} has at most {target_length - 1} words: give target_length.")
    parts["train"] = kept
    words: Iterable[Sequence[str]] = [*kept.sources, *kept.targets]
    vocabulary = Vocabulary(words, owner=repr(train), min_count=min_count, marks=OWN_MARKS)
    made = {split: _Numbered(part, vocabulary, target_length - 1, extended=extended) for split, part in parts.items()}
    chosen = lengths_of(buckets, longest=source_length, lengths=made["train"].source.lengths)
    splits: dict[str, Source] = {
        split: Summaries(one, parts[split], vocabulary, chosen, target_length) for split, one in made.items()
    }
    # A model that copies has room for one such word where there is none.
    most = max(1, *(len(oov) for one in made.values() for oov in one.oov)) if extended else 0
    facts = {"vocabulary": vocabulary.tokens, "vocabulary_size": len(vocabulary), "oov_words": most}
    facts |= {"source_length": source_length, "target_length": target_length}
    facts |= {"padding": 0, "unknown": _UNKNOWN, "begin": _BEGIN, "end": _END}
    note = f"{owner}: {lost} training summaries of {train!r} have more than {target_length - 1} words, and are left out"
    return Dataset(splits, facts, notes=(note,) if lost else ())


class _Tokens(NamedTuple):
    """The examples of a split: as they are written, and as words; sources are cut."""

    texts: PairTexts
    sources: list[list[str]]
    targets: list[list[str]]

    def fitting(self, words: int) -> "_Tokens":
        """Returns the examples whose summaries have no more words."""
        kept = [number for number, target in enumerate(self.targets) if len(target) <= words]
        texts = PairTexts(*([side[number] for number in kept] for side in self.texts))
        return _Tokens(texts, [self.sources[number] for number in kept], [self.targets[number] for number in kept])


class _Read(NamedTuple):
    texts: PairTexts
    names: list[str]


class _Numbered:
    """The examples of a split in ids.

    Attributes:
      source: with "<unknown>" where the vocabulary lacks a word.
      extended: with V + its number in the source there; None where that is not asked for.
      target: in extended ids, where there are any, its end with it.
      oov: the words of each source that the vocabulary lacks, in the order in which they come.
    """

    def __init__(self, part: _Tokens, vocabulary: Vocabulary, most: int, *, extended: bool):
        known = {*vocabulary.tokens}
        self.oov = [
            list(dict.fromkeys(word for word in text if word not in known)) if extended else [] for text in part.sources
        ]
        own = [{word: len(vocabulary) + number for number, word in enumerate(words)} for words in self.oov]
        self.source = Ragged([*map(vocabulary.numbers, part.sources)])
        self.extended = Ragged(_own(part.sources, own, vocabulary)) if extended else None
        targets = _own([target[:most] for target in part.targets], own, vocabulary)
        self.target = Ragged([np.append(target, _END).astype(np.int32) for target in targets])


def _own(texts: Sequence[Sequence[str]], own: Sequence[Mapping[str, int]], vocabulary: Vocabulary) -> list[np.ndarray]:
    """Returns texts in ids, words that their own source has in those of that source."""
    numbered = [vocabulary.numbers(text) for text in texts]
    for ids, text, numbers in zip(numbered, texts, own, strict=True):
        for at in np.flatnonzero(ids == _UNKNOWN).tolist():
            ids[at] = numbers.get(text[at], _UNKNOWN)
    return numbered


class Summaries:
    """A split of texts and summaries, padded when they are asked for.

    Attributes:
      texts: the N texts and their summaries as they are written.
      padded_lengths: [N], the length that each source is padded to.
      oov: the words of each source that the vocabulary lacks.
      summaries: the words of each summary, none cut off.
    """

    def __init__(
        self, made: _Numbered, part: _Tokens, vocabulary: Vocabulary, buckets: Sequence[int], target_length: int
    ):
        """Keeps N examples; `buckets` are the lengths that sources are padded to, rising, the last for the longest."""
        self.texts, self.summaries, self.oov = part.texts, part.targets, made.oov
        self._made, self._vocabulary, self._width = made, vocabulary.tokens, target_length
        self.padded_lengths = bucketed(made.source.lengths, buckets)

    def __len__(self) -> int:
        return len(self.padded_lengths)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the examples `indices` ([B]) padded with 0, all int32 but the weights, float32.

        source [B, S] with "<unknown>" for words that the vocabulary lacks, source_extended [B, S] with their own ids
        where that is asked for, source_lengths [B]; targets [B, T] in extended ids, with the end; inputs [B, T], the
        begin token and the targets but the last, without extended ids; target_lengths [B]; weights [B, T], 1 on the
        real targets.
        """
        made, width = self._made, int(self.padded_lengths[indices].max())
        targets, lengths = made.target.padded(indices, width=self._width), made.target.lengths[indices]
        begin = np.full((len(targets), 1), _BEGIN, np.int32)
        real = np.arange(self._width) < lengths[:, None]
        inputs = np.where(real, np.concatenate([begin, targets[:, :-1]], axis=1), 0)
        batch = {
            "source": made.source.padded(indices, width=width),
            "source_lengths": made.source.lengths[indices],
            "inputs": np.where(inputs < len(self._vocabulary), inputs, _UNKNOWN).astype(np.int32),
            "targets": targets,
            "target_lengths": lengths,
            "weights": real.astype(np.float32),
        }
        return (
            batch if made.extended is None else batch | {"source_extended": made.extended.padded(indices, width=width)}
        )

    def words(self, row: int, tokens: Iterable[int]) -> list[str]:
        """Returns the words of a row's tokens before the first end; ids from V on are words of its own source."""
        found = []
        for token in map(int, tokens):
            if token == _END:
                break
            size = len(self._vocabulary)
            found.append(self._vocabulary[token] if token < size else self.oov[row][token - size])
        return found


def _from_table(path: str, columns: tuple[str, str]) -> _Read:
    table = read_table(path, Form(separator_of(path), True, True))
    for column in columns:
        if table.columns.count(column) != 1:
            near = did_you_mean(column, table.columns) if table.columns else ""
            raise Refused(
                f"table {path!r} has no one column {column!r}: its columns are "
                f"{', '.join(map(repr, table.columns)) or 'none'}.{near}"
            )
    if not table.rows:
        raise Refused(f"table {path!r} has no row: give it one for each text and its summary.")
    return _Read(PairTexts(*map(table.column, columns)), [f"line {line} of {path!r}" for line in table.lines])


def _from_tfds(dataset: str, split: str, columns: tuple[str, str], folder: str) -> _Read:
    if folder != ".":
        raise Refused(
            f"summaries reads dataset={dataset!r} by TFDS, and folder={folder!r} is of files: give one of the two."
        )
    examples = list(read(open_prepared(dataset), split))
    for column in columns:
        if column not in examples[0]:
            raise Refused(f"TFDS data set {dataset!r} has no field {column!r}.{did_you_mean(column, examples[0])}")
    texts = PairTexts(*([example[column].decode() for example in examples] for column in columns))
    return _Read(texts, [f"example {number} of the {split} split of {dataset!r}" for number in range(len(examples))])


def _tokens(part: _Read, tokens: str, most: tuple[int, int]) -> _Tokens:
    sources, targets = (tokenized(list(side), tokens) for side in part.texts)
    for name, source, target in zip(part.names, sources, targets, strict=True):
        if not source or not target:
            raise Refused(f"{name} has an empty {'summary' if source else 'text'}: write one, or remove it.")
    return _Tokens(part.texts, [source[: most[0]] for source in sources], targets)
