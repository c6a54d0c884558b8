"""Texts with a label each, from a table: sequences of unequal length to classify."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.data.dataset import Dataset, Source, register
from attention_jax.data.digests import check_file
from attention_jax.data.packing import bucketed, check_rows, padded
from attention_jax.data.seeds import check_seed
from attention_jax.data.stratified import groups, stratified
from attention_jax.data.table import Form, read_table, separator_of
from attention_jax.data.text import UNKNOWN, place

# A word with what an apostrophe joins to it, or a mark.
WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def _lower_words(text: str) -> list[str]:
    return WORD.findall(text.lower())


_TOKENS: dict[str, Callable[[str], list[str]]] = {"characters": list, "words": str.split, "lower_words": _lower_words}
_TOO_LONG = ("refuse", "cut", "cut_middle")


@register
def text_classification(
    *,
    path: str,
    context: int,
    test_path: str | None = None,
    text: str = "text",
    label: str = "label",
    separator: str | None = None,
    header: bool = True,
    quotes: bool = True,
    tokens: str = "characters",
    min_count: int = 1,
    buckets: tuple[int, ...] = (),
    too_long: str = "refuse",
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    copies_together: bool = False,
    seed: int = 0,
    digest: str | None = None,
) -> Dataset:
    """Returns the labelled texts of a UTF-8 table: tokens [B, T], lengths (the real ones of each) and label [B].

    The table is of separated values, where a field that holds the separator or an end of line is quoted, or of JSON
    lines. Columns other than the two are not read. The classes are the sorted labels, the vocabulary "<unknown>" and
    the sorted tokens of the training texts; what a text has beyond them is "<unknown>", token 0. Texts are padded at
    their end with 0 too, told apart by the lengths; one without a token has length 0.

    The splits are drawn by the seed, with the same share of each class in each, rounded.

    Args:
      path: the file; where there is none of this path, it is looked for within the folder that the environment's
        TEXTS_DATA_DIR names.
      context: the most tokens in a text.
      test_path: the file of the test split, looked for like the other; None draws `test_fraction` of the texts.
      text, label: the names of the columns; those of a file without a header are "1", "2" and so on.
      separator: ",", "\\t", ";", "|", or "json" for a JSON object on each line; None is "\\t" where the name of the
        file ends in .tsv, "json" where it ends in .jsonl or .ndjson, else ",".
      header: whether the first line names the columns.
      quotes: whether fields may be quoted; False takes a quotation mark for a character like others.
      tokens: "characters"; "words", which stand between blanks; or "lower_words", words in lower case, each mark apart.
      min_count: tokens that the training texts have less often are unknown.
      buckets: lengths that texts are padded to, rising, the last of them `context`, and each batch is of one of them;
        () pads all to `context`.
      too_long: "refuse" a text of more tokens than `context`, "cut" it to its first ones, or "cut_middle", which keeps
        its first and its last ones, half and half (Sun et al. 2019, How to Fine-Tune BERT for Text Classification).
      validation_fraction: of the texts.
      test_fraction: of the texts, where there is no `test_path`; 0 is no test split.
      copies_together: whether all copies of one text, blanks aside, are in one split, and count once in it.
      seed: fixes which text is in which split; 0 to 2^32 - 1.
      digest: of the content of the file `path`, as `digest_of` returns it, which is checked; None checks nothing.

    Raises:
      Refused: a file cannot be read, is no such table or not that of the digest; an option cannot be used; a text is
        too long; a split has no text, or the train split none of some class; or a label is in the test file alone.
    """
    check_text_options(
        context, buckets, tokens=tokens, too_long=too_long, min_count=min_count, owner="text_classification"
    )

    def read(path: str, digest: str | None = None) -> Labelled:
        form = Form(separator_of(path) if separator is None else separator, header, quotes)
        return read_labelled(path, form, text=text, label=label, digest=digest)

    table = read(path, digest)
    drawn = test_fraction if test_path is None else 0
    parts = table.splits(validation_fraction, drawn, seed, copies_together=copies_together)
    if test_path is not None:
        parts["test"] = np.arange(len(table.texts), len(table.texts) + len((tested := read(test_path)).texts))
        table = table.followed_by(tested)
    return text_dataset(table, parts, context, tokens=tokens, min_count=min_count, buckets=buckets, too_long=too_long)


def check_text_options(
    context: int, buckets: Sequence[int], *, tokens: str, too_long: str, min_count: int, owner: str
) -> None:
    """Checks options of labelled texts, before a file is read; raises Refused where one cannot be used."""
    check_rows(context, buckets)
    for name, value, choices in (("tokens", tokens, _TOKENS), ("too_long", too_long, _TOO_LONG)):
        if value not in choices:
            raise Refused(f"{owner} has no {name} {value!r}.{did_you_mean(str(value), choices)}")
    if min_count < 1:
        raise Refused(f"{owner} min_count {min_count}: give a whole number of at least 1.")


def text_dataset(
    table: "Labelled",
    parts: Mapping[str, np.ndarray],
    context: int,
    *,
    tokens: str,
    min_count: int,
    buckets: Sequence[int],
    too_long: str,
) -> Dataset:
    """Returns the data set of labelled texts in their splits; the options are those of `text_classification`.

    Raises:
      Refused: a text is too long.
    """
    cut = tokenized(table.texts, tokens)
    longest = max(map(len, cut))
    if longest > context and too_long == "refuse":
        raise Refused(
            f"a text of {table.path!r} has {longest} {tokens}, more than context {context}: give context={longest}, or "
            f"too_long='cut' to read the first {context} of each."
        )
    cut = [shortened(text, context, too_long) for text in cut]
    counts = Counter(token for example in parts["train"] for token in cut[example])
    known = sorted(token for token, count in counts.items() if count >= min_count)
    number = {token: place for place, token in enumerate(known, start=1)}
    ids = [np.array([number.get(token, 0) for token in text], np.int32) for text in cut]
    splits: dict[str, Source] = {
        split: Texts(
            [ids[example] for example in part],
            table.label[part],
            buckets or (context,),
            written=[table.texts[example] for example in part],
        )
        for split, part in parts.items()
    }
    facts = {"vocabulary": [UNKNOWN, *known], "vocabulary_size": 1 + len(known), "length": context}
    facts |= {"classes": table.classes, "num_classes": len(table.classes)}
    return Dataset(splits, facts, TextTokens([UNKNOWN, *known], tokens))


class TextTokens:
    """The tokens of texts to classify, of a kind that `text_classification` knows.

    Attributes:
      vocabulary: what each token stands for, "<unknown>" among them.
    """

    def __init__(self, vocabulary: list[str], tokens: str):
        """Numbers the tokens of a kind."""
        self.vocabulary = vocabulary
        self._numbers = {token: number for number, token in enumerate(vocabulary)}
        self._kind = tokens

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the tokens of each text; one that the training texts did not have is "<unknown>"."""
        unknown = self._numbers[UNKNOWN]
        return [[self._numbers.get(token, unknown) for token in text] for text in tokenized(texts, self._kind)]

    def detokenize(self, ids: Iterable[int]) -> str:
        """Returns the tokens as a text, with blanks between words."""
        return ("" if self._kind == "characters" else " ").join(self.vocabulary[token] for token in ids)


class Labelled(NamedTuple):
    """The texts of a table.

    Attributes:
      path: the file.
      texts: N of them.
      label: [N], the class of each.
      classes: the sorted labels.
    """

    path: str
    texts: list[str]
    label: np.ndarray
    classes: list[str]

    def splits(
        self, validation_fraction: float, test_fraction: float, seed: int, *, copies_together: bool
    ) -> dict[str, np.ndarray]:
        """Returns the texts of each split, in the order of the file; raises as `stratified`."""
        check_seed(seed, name="text_classification seed")
        keys = [same_text(text) for text in self.texts] if copies_together else [*map(str, range(len(self.texts)))]
        return stratified(
            self.label,
            groups(keys),
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
            seed=seed,
            owner=repr(self.path),
            noun="text",
        )

    def followed_by(self, others: "Labelled") -> "Labelled":
        """Returns these texts and others behind them, with the classes of these.

        Raises:
          Refused: one of the others has another class.
        """
        new = sorted({*others.classes} - {*self.classes})
        if new:
            raise Refused(
                f"table {others.path!r} has the label {new[0]!r}, which {self.path!r} has not: add texts with it "
                "there, or remove its rows."
            )
        label = np.array([self.classes.index(name) for name in others.classes])[others.label]
        return self._replace(texts=[*self.texts, *others.texts], label=np.concatenate([self.label, label]))


def shortened(text: list[str], most: int, too_long: str) -> list[str]:
    """Returns the first ones of so many tokens or lines, or with "cut_middle" the first and the last, half and half."""
    last = most // 2 if too_long == "cut_middle" else 0
    return text if len(text) <= most else text[: most - last] + text[len(text) - last :]


def same_text(text: str) -> str:
    """Returns what two texts share that differ in blanks alone."""
    return " ".join(text.split())


def tokenized(texts: Sequence[str], tokens: str) -> list[list[str]]:
    """Returns the tokens of each text, of a kind that `text_classification` knows."""
    return [_TOKENS[tokens](text) for text in texts]


def read_labelled(path: str, form: Form, *, text: str, label: str, digest: str | None = None) -> Labelled:
    """Returns the texts of a table with their classes.

    Raises:
      Refused: the file cannot be read, is no table with these columns, or not that of the digest; a row has no label,
        or there are fewer than two labels.
    """
    there = str(place(path))
    table = read_table(there, form)
    check_file(there, digest)
    if [column for column in (text, label) if table.columns.count(column) != 1]:
        raise Refused(
            f"table {path!r} has the columns {', '.join(map(repr, table.columns))}: they must have each of {text} and "
            f"{label} once."
        )
    labels = table.column(label)
    for line, one in zip(table.lines, labels, strict=True):
        if not one:
            raise Refused(f"line {line} of {path!r} has no label: give it one, or remove it.")
    if len({*labels}) < 2:
        raise Refused(f"table {path!r} has {len({*labels})} labels in {len(labels)} rows: give rows of two or more.")
    classes, numbers = np.unique(np.array(labels), return_inverse=True)
    return Labelled(path, table.column(text), numbers, classes.tolist())


class Texts:
    """Texts with labels, each padded when it is asked for.

    Attributes:
      padded_lengths: [N], the tokens of each with its padding.
      label: [N], the class of each, int32.
      written: the N texts as the file has them.
    """

    def __init__(self, ids: Sequence[np.ndarray], label: np.ndarray, buckets: Sequence[int], *, written: Sequence[str]):
        """Keeps the texts.

        Args:
          ids: N texts, each its tokens.
          label: [N], the class of each.
          buckets: the lengths that they are padded to, rising; the last holds the longest.
          written: the texts as the file has them.
        """
        self._lengths = np.array([len(text) for text in ids], np.int32)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._ids = np.concatenate(ids)
        self.label, self.written = label.astype(np.int32), written
        self.padded_lengths = bucketed(self._lengths, buckets)

    def __len__(self) -> int:
        return len(self._lengths)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the texts `indices` ([B]) padded with 0 to the longest bucket of them: tokens [B, T], lengths and
        label [B], all int32.
        """
        lengths = self._lengths[indices]
        width = int(self.padded_lengths[indices].max())
        tokens = padded(self._ids, self._starts[indices], lengths, width=width)
        return {"tokens": tokens, "lengths": lengths, "label": self.label[indices]}
