"""Short texts with a label each, from a table: sequences of unequal length to classify."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.data.dataset import Dataset, Source, register
from attention_jax.data.packing import bucketed, check_rows, ragged_arange
from attention_jax.data.seeds import check_seed
from attention_jax.data.text import read_text

# Token 0: what the training texts do not have. Padding has the same number, and is told apart by the lengths.
_UNKNOWN = "<unknown>"
_COLUMNS = ("text", "label")
_TOKENS = ("characters", "words")
_TOO_LONG = ("refuse", "cut")


@register
def text_classification(
    *,
    path: str,
    context: int,
    tokens: str = "characters",
    buckets: tuple[int, ...] = (),
    too_long: str = "refuse",
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Returns the texts of a UTF-8 table with a header: tokens [B, T], lengths (the real ones of each) and label [B].

    The table has the columns text and label, separated by commas, or by tabs where the name of the file ends in .tsv;
    a field that holds such a mark or an end of line is quoted. Other columns are not read. The classes are the sorted
    labels, the vocabulary "<unknown>" and the sorted characters or words of the training texts; what a later text has
    beyond them is "<unknown>", token 0. Texts are padded at their end with 0; one without a token has length 0.

    The splits are drawn by the seed, with the same share of each class in each, rounded.

    Args:
      path: the file.
      context: the most tokens in a text.
      tokens: "characters", or "words": what stands between blanks.
      buckets: lengths that texts are padded to, rising, the last of them `context`, and each batch is of one of them;
        () pads all to `context`.
      too_long: "refuse" a text of more tokens than `context`, or "cut" it to its first ones.
      validation_fraction: of the texts.
      test_fraction: of the texts; 0 is no test split.
      seed: fixes which text is in which split; 0 to 2^32 - 1.

    Raises:
      Refused: the file cannot be read, or is no such table; an option cannot be used; a text is too long; or a split
        has no text, or the train split none of some class.
    """
    check_rows(context, buckets)
    check_seed(seed, name="text_classification seed")
    for name, value, choices in (("tokens", tokens, _TOKENS), ("too_long", too_long, _TOO_LONG)):
        if value not in choices:
            raise Refused(f"text_classification has no {name} {value!r}.{did_you_mean(str(value), choices)}")
    texts, labels = _read(path)
    cut = [list(text) if tokens == "characters" else text.split() for text in texts]
    longest = max(map(len, cut))
    if longest > context and too_long == "refuse":
        raise Refused(
            f"a text of {path!r} has {longest} {tokens}, more than context {context}: give context={longest}, or "
            f"too_long='cut' to read the first {context} of each."
        )
    classes, label = np.unique(np.array(labels), return_inverse=True)
    parts = _parts(label, validation_fraction, test_fraction, seed, path)
    cut = [text[:context] for text in cut]
    known = sorted({token for example in parts["train"] for token in cut[example]})
    number = {token: place for place, token in enumerate(known, start=1)}
    ids = [np.array([number.get(token, 0) for token in text], np.int32) for text in cut]
    splits: dict[str, Source] = {
        split: Texts([ids[example] for example in part], label[part], buckets or (context,))
        for split, part in parts.items()
    }
    facts = {"vocabulary": [_UNKNOWN, *known], "vocabulary_size": 1 + len(known), "length": context}
    return Dataset(splits=splits, facts={**facts, "classes": classes.tolist(), "num_classes": len(classes)})


class Texts:
    """Texts with labels, each padded when it is asked for.

    Attributes:
      padded_lengths: [N], the tokens of each with its padding.
    """

    def __init__(self, ids: Sequence[np.ndarray], label: np.ndarray, buckets: Sequence[int]):
        """Keeps the texts.

        Args:
          ids: N texts, each its tokens.
          label: [N], the class of each.
          buckets: the lengths that they are padded to, rising; the last holds the longest.
        """
        self._lengths = np.array([len(text) for text in ids], np.int32)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._ids = np.concatenate(ids)
        self._label = label.astype(np.int32)
        self.padded_lengths = bucketed(self._lengths, buckets)

    def __len__(self) -> int:
        return len(self._lengths)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the texts `indices` ([B]) padded with 0 to the longest bucket of them: tokens [B, T], lengths and
        label [B], all int32.
        """
        lengths = self._lengths[indices]
        tokens = np.zeros((len(lengths), int(self.padded_lengths[indices].max())), np.int32)
        real = np.arange(tokens.shape[1]) < lengths[:, None]
        tokens[real] = self._ids[np.repeat(self._starts[indices], lengths) + ragged_arange(lengths)]
        return {"tokens": tokens, "lengths": lengths, "label": self._label[indices]}


def _read(path: str) -> tuple[list[str], list[str]]:
    """Returns the texts and the labels of a table."""
    rows = csv.reader(io.StringIO(read_text(path)), delimiter="\t" if path.endswith(".tsv") else ",", strict=True)
    texts, labels = [], []
    try:
        header = next(rows, [])
        missing = [column for column in _COLUMNS if header.count(column) != 1]
        if missing:
            raise Refused(
                f"table {path!r} has the columns {', '.join(map(repr, header))}: its first line must name each of "
                f"{' and '.join(_COLUMNS)} once."
            )
        text, label = (header.index(column) for column in _COLUMNS)
        for row in rows:
            # A blank line is no row.
            if row and len(row) != len(header):
                raise Refused(
                    f"line {rows.line_num} of {path!r} has {len(row)} fields, and the header {len(header)}: quote a "
                    "field that holds the separator."
                )
            if row and not row[label]:
                raise Refused(f"line {rows.line_num} of {path!r} has no label: give it one, or remove it.")
            if row:
                texts.append(row[text])
                labels.append(row[label])
    except csv.Error as error:
        raise Refused(f"line {rows.line_num} of {path!r} cannot be read ({error}): quote its fields anew.") from None
    if len({*labels}) < 2:
        raise Refused(f"table {path!r} has {len({*labels})} labels in {len(labels)} rows: give rows of two or more.")
    return texts, labels


def _parts(
    label: np.ndarray, validation_fraction: float, test_fraction: float, seed: int, path: str
) -> dict[str, np.ndarray]:
    """Returns the examples of each split, in the order of the file."""
    shares = {"validation": validation_fraction, "test": test_fraction}
    if validation_fraction <= 0 or test_fraction < 0 or validation_fraction + test_fraction >= 1:
        raise Refused(
            f"validation_fraction {validation_fraction} must be more than 0, test_fraction {test_fraction} 0 or more, "
            "and both together less than 1: use such as 0.1 and 0.1."
        )
    rng = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {"train": [], **{split: [] for split, share in shares.items() if share}}
    for number in range(label.max() + 1):
        members = rng.permutation(np.flatnonzero(label == number))
        ends = np.cumsum([round(share * len(members)) for share in shares.values()])
        validation, test, train = np.split(members, ends)
        for split, part in (("train", train), ("validation", validation), ("test", test)):
            if split in parts:
                parts[split].append(part)
    joined = {split: np.sort(np.concatenate(part)) for split, part in parts.items()}
    lacking = [split for split, part in joined.items() if not len(part)]
    if lacking or not all(map(len, parts["train"])):
        what = f"leave the {lacking[0]} split empty" if lacking else "leave a class without a text to train on"
        raise Refused(
            f"validation_fraction {validation_fraction} and test_fraction {test_fraction} of the {len(label)} texts of "
            f"{path!r} {what}: give more texts, or other fractions."
        )
    return joined
