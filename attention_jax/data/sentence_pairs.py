"""Pairs of texts with a label or a score each, from tables: what one says of the other, or how near they are."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.data.buckets import lengths_of
from attention_jax.data.dataset import Dataset, Source, register
from attention_jax.data.labelled_texts import check_text_options, shortened, tokenized
from attention_jax.data.numbered import Ragged, Vocabulary
from attention_jax.data.packing import bucketed
from attention_jax.data.table import Form, read_table, separator_of
from attention_jax.data.text import place


@register
def sentence_pairs(
    *,
    train: str,
    validation: str,
    test: str | None = None,
    folder: str = ".",
    context: int,
    first: str = "first",
    second: str = "second",
    label: str | None = None,
    score: str | None = None,
    separator: str | None = None,
    header: bool = True,
    quotes: bool = True,
    tokens: str = "lower_words",
    min_count: int = 1,
    buckets: int | tuple[int, ...] = 3,
    too_long: str = "refuse",
) -> Dataset:
    """Returns pairs of texts: first, second [B, T], first_lengths, second_lengths, and label or score, [B].

    Each row of a UTF-8 table is a pair; columns other than the three are not read. Scores are float32, all else int32.
    The vocabulary is "<padding>", "<unknown>" and the sorted tokens of the training texts, the classes are the sorted
    training labels. Where there is a score num_classes is 1: the one number that a model gives.

    Args:
      train, validation, test: the names of the files; test None is no test split.
      folder: of the files; where there is none of this path, they are looked for within the folder that the
        environment's TEXTS_DATA_DIR names, so that a config is the same on every machine.
      context: the most tokens in a text.
      first, second: the columns of the texts; those of a file without a header are "1", "2" and so on.
      label, score: the column of what is to be learned, one of the two: a class, or a number.
      separator, header, quotes: see `text_classification`.
      tokens, min_count, too_long: see `text_classification`.
      buckets: how many lengths pairs are padded to, which are then chosen for the fewest tokens; or the lengths,
        rising, the last of them `context`; () pads all to `context`.

    Raises:
      Refused: a file cannot be read or is no such table; a text is empty or too long; a label is not among the training
        ones, or a score is no number; or an option cannot be used.
    """
    owner = "sentence_pairs"
    check_text_options(context, (), tokens=tokens, too_long=too_long, min_count=min_count, owner=owner)
    if (label is None) == (score is None):
        raise Refused(f"{owner} has label={label!r} and score={score!r}: name one column, of what is to be learned.")
    columns = (first, second, str(label if score is None else score))
    paths = {"train": train, "validation": validation, **({} if test is None else {"test": test})}
    rows = {
        split: _read(str(place(f"{folder}/{path}")), columns, Form(separator or separator_of(path), header, quotes))
        for split, path in paths.items()
    }
    learned = _labels(rows) if score is None else _scores(rows)
    texts = {
        split: [_tokens(part, side, context, tokens=tokens, too_long=too_long) for side in (0, 1)]
        for split, part in rows.items()
    }
    vocabulary = Vocabulary((one for side in texts["train"] for one in side), owner=repr(train), min_count=min_count)
    sides = {split: [Ragged([*map(vocabulary.numbers, side)]) for side in both] for split, both in texts.items()}
    longest = np.maximum(*(side.lengths for side in sides["train"]))
    lengths = lengths_of(buckets, longest=context, lengths=longest)
    splits: dict[str, Source] = {
        split: SentencePairs(both[0], both[1], {learned.name: learned.of[split]}, lengths, written=rows[split].texts)
        for split, both in sides.items()
    }
    facts = {"vocabulary": vocabulary.tokens, "vocabulary_size": len(vocabulary), "length": context}
    return Dataset(splits, {**facts, **learned.facts})


class SentencePairs:
    """Pairs of texts, padded when they are asked for.

    Attributes:
      padded_lengths: [N], the length that both texts of each are padded to.
      written: both texts of each, as the file has them.
      learned: the label or the score of each, [N], by its name.
    """

    def __init__(
        self,
        first: Ragged,
        second: Ragged,
        learned: Mapping[str, np.ndarray],
        buckets: Sequence[int],
        *,
        written: Sequence[tuple[str, str]],
    ):
        """Keeps N pairs; `buckets` are the lengths that they are padded to, rising, the last for the longest."""
        self._sides, self.learned, self.written = {"first": first, "second": second}, learned, written
        self.padded_lengths = bucketed(np.maximum(first.lengths, second.lengths), buckets)

    def __len__(self) -> int:
        return len(self.padded_lengths)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the pairs `indices` ([B]): first and second [B, T], padded with 0 to the longest bucket of them,
        first_lengths, second_lengths, all int32, and the label or the score, [B].
        """
        width = int(self.padded_lengths[indices].max())
        batch = {name: side.padded(indices, width=width) for name, side in self._sides.items()}
        batch |= {f"{name}_lengths": side.lengths[indices] for name, side in self._sides.items()}
        return batch | {name: array[indices] for name, array in self.learned.items()}


class _Rows(NamedTuple):
    path: str
    texts: list[tuple[str, str]]
    learned: list[str]
    lines: list[int]


class _Learned(NamedTuple):
    """What is to be learned: its name, of each split, and the facts that it makes."""

    name: str
    of: dict[str, np.ndarray]
    facts: dict[str, object]


def _read(path: str, columns: tuple[str, str, str], form: Form) -> _Rows:
    table = read_table(path, form)
    for column in columns:
        if column not in table.columns:
            raise Refused(f"table {path!r} has no column {column!r}.{did_you_mean(column, table.columns)}")
        if table.columns.count(column) > 1:
            raise Refused(f"table {path!r} has several columns {column!r}: rename all but one.")
    if not table.rows:
        raise Refused(f"table {path!r} has no row: give it one for each pair of texts.")
    first, second, learned = map(table.column, columns)
    return _Rows(path, [*zip(first, second, strict=True)], learned, table.lines)


def _tokens(rows: _Rows, side: int, context: int, *, tokens: str, too_long: str) -> list[list[str]]:
    """Returns the tokens of the first or the second texts, none longer than may be."""
    cut = tokenized([both[side] for both in rows.texts], tokens)
    for line, text in zip(rows.lines, cut, strict=True):
        which = ("first", "second")[side]
        if not text:
            raise Refused(f"line {line} of {rows.path!r} has an empty {which} text: write one, or remove the line.")
        if len(text) > context and too_long == "refuse":
            raise Refused(
                f"line {line} of {rows.path!r} has a {which} text of {len(text)} {tokens}, more than context "
                f"{context}: give context={max(map(len, cut))}, or too_long='cut' to read the first {context} of each."
            )
    return [shortened(text, context, too_long) for text in cut]


def _labels(rows: Mapping[str, _Rows]) -> _Learned:
    classes = sorted({*rows["train"].learned})
    number = {name: place for place, name in enumerate(classes)}
    for part in rows.values():
        for line, one in zip(part.lines, part.learned, strict=True):
            if not one:
                raise Refused(f"line {line} of {part.path!r} has no label: give it one, or remove it.")
            if len(classes) < 2:
                raise Refused(f"table {part.path!r} has the one label {one!r}: give rows of two or more.")
            if one not in number:
                raise Refused(
                    f"line {line} of {part.path!r} has the label {one!r}, which no training pair has: those have "
                    f"{', '.join(map(repr, classes[:9]))}; add some with it, or remove the line."
                )
    of = {split: np.array([number[one] for one in part.learned], np.int32) for split, part in rows.items()}
    return _Learned("label", of, {"classes": classes, "num_classes": len(classes)})


def _scores(rows: Mapping[str, _Rows]) -> _Learned:
    def number(line: int, text: str, path: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise Refused(f"line {line} of {path!r} has the score {text!r}: give a number, such as 3.7.")
        return value

    of = {
        split: np.array(
            [number(line, one, part.path) for line, one in zip(part.lines, part.learned, strict=True)], np.float32
        )
        for split, part in rows.items()
    }
    return _Learned("score", of, {"num_classes": 1})
