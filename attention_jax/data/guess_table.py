"""How a stranger's table is written, and which of its columns are the text and the label."""

import re
from collections import Counter
from pathlib import Path

import numpy as np

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.data.digests import digest_of
from attention_jax.data.guessed import Guess, class_lines, fractions, split_line
from attention_jax.data.labelled_texts import read_labelled, same_text, tokenized
from attention_jax.data.table import JSON_LINES, SEPARATORS, Form, Table, parse_table, separator_of
from attention_jax.data.text import decode, universal_newlines

_TEXTS = {"text", "texts", "sentence", "review", "content", "comment", "message", "query", "question", "utterance"}
_TEXTS |= {"tweet", "document", "body", "headline", "description", "abstract"}
_LABELS = {"label", "labels", "class", "category", "target", "sentiment", "intent", "topic", "tag", "emotion"}
_NAMED_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars", JSON_LINES: "JSON lines"}
_LONGEST_NAME = 60  # characters in the name of a column
_LONGEST_LABEL = 60
# The most tokens that are read of a text: what attention costs grows with their square.
_LONGEST = 128


def guess_table(path: str, *, text: str | None = None, label: str | None = None) -> Guess:
    """Returns the guess about a table of labelled texts.

    Args:
      path: the file.
      text, label: the columns, where the user says them.

    Raises:
      Refused: it cannot be read; a column cannot be guessed; a row has no text or no label; or the labels are no
        classes, or one of them has a single row.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise Refused(f"table {path!r} cannot be read: {error.strerror}. Give the path of a table.") from None
    decoded = universal_newlines(decode(content, f"table {path!r}"))
    form, table = guess_form(decoded, path)
    if not table.rows:
        raise Refused(f"table {path!r} has no rows: give one with a text and a label in each.")
    text, label = guess_columns(table, path, text=text, label=label)
    _check_texts(table, path, text)
    _check_labels(table, path, label)
    digest = digest_of(content)
    labelled = read_labelled(path, form, text=text, label=label, digest=digest)
    shares = fractions(len(labelled.texts))
    parts = labelled.splits(**shares, seed=0, copies_together=True)
    kind, context, cut = _tokens(labelled.texts)
    section = {
        "name": "text_classification",
        "path": path,
        "text": text,
        "label": label,
        "separator": form.separator,
        "header": form.header,
        "quotes": form.quotes,
        "tokens": kind,
        "min_count": 2 if kind == "lower_words" else 1,
        "context": context,
        "too_long": "cut_middle",
        "copies_together": True,
        "digest": digest,
        **shares,
    }
    copies = _copies(labelled.texts, labelled.label)
    counts = {labelled.classes[number]: int(count) for number, count in enumerate(np.bincount(labelled.label))}
    lines = [
        _form_line(path, form, len(table.rows)),
        f"text: column {text!r}; label: column {label!r}; --text=COLUMN and --label=COLUMN say others",
        *class_lines(counts, noun="text"),
        split_line(*map(len, parts.values()), copies=copies),
        f"tokens: {_WORDS[kind]}, at most {context} of each text{cut}",
    ]
    return Guess("texts", section, len(parts["train"]), (context,), tuple(lines))


def guess_form(content: str, path: str) -> tuple[Form, Table]:
    """Returns how a table is written, and the table.

    The separator is the one that gives every row the same number of fields, two or more; that of the file's name is
    tried first, and in values separated by tabs also without quotation. The first line is a row, and no header, where
    one of its fields is a number, is long, or stands again in its column.

    Raises:
      Refused: there is none.
    """
    if Path(path).suffix.lower() in (".json", ".jsonl", ".ndjson"):
        if content.lstrip().startswith("["):
            raise Refused(f"{path!r} is one JSON array: write each of its objects on a line (jq -c '.[]' FILE).")
        return Form(JSON_LINES), parse_table(content, Form(JSON_LINES), path=path)
    first = separator_of(path)
    refusal: Refused | None = None
    for separator in (first, *(other for other in SEPARATORS if other != first)):
        for quotes in (True, False) if separator == "\t" else (True,):
            form = Form(separator, header=False, quotes=quotes)
            try:
                table = parse_table(content, form, path=path)
            except Refused as error:
                refusal = refusal or error
                continue
            if len(table.columns) > 1:
                return _with_header(form, table)
    if refusal is not None:
        raise refusal
    raise Refused(f"table {path!r} has one column, and a text and a label are needed: separate two by commas or tabs.")


def guess_columns(table: Table, path: str, *, text: str | None, label: str | None) -> tuple[str, str]:
    """Returns the columns of the text and of the label.

    Each is the one that the user says, or else the one with a usual name, or else by content: the label is the column
    with few different values, the text the one with many and by far the longest.

    Raises:
      Refused: a column that the user says is not there once, or there are none or several to choose from.
    """
    for option, said in (("text", text), ("label", label)):
        if said is not None and table.columns.count(said) != 1:
            raise Refused(f"--{option}={said}: {path!r} has no one such column.{did_you_mean(said, {*table.columns})}")
    if text is not None and text == label:
        raise Refused(f"--text={text} and --label={label} are one column of {path!r}: give two.")
    left = [name for name in dict.fromkeys(table.columns) if table.columns.count(name) == 1]
    left = [name for name in left if name not in (text, label)]
    if label is None:
        usual = _usual(left, _LABELS)
        label = _one(usual or [name for name in left if _is_label(table.column(name))], left, "label", path)
    if text is None:
        left = [name for name in left if name != label]
        text = _one(_usual(left, _TEXTS) or _longest(table, left), left, "text", path)
    return text, label


def _with_header(form: Form, table: Table) -> tuple[Form, Table]:
    names, rest = table.rows[0], table.rows[1:]
    usual = any(name.strip().lower() in _TEXTS | _LABELS for name in names)
    for place, name in enumerate(names):
        again = bool(name) and any(row[place] == name for row in rest)
        if not usual and (again or len(name) > _LONGEST_NAME or _number(name) is not None):
            return form, table
    return Form(form.separator, True, form.quotes), Table(names, rest, table.lines[1:])


def _usual(columns: list[str], known: set[str]) -> list[str]:
    """Returns the columns of a usual name, or else those with such a word in their name."""
    whole = [name for name in columns if name.strip().lower() in known]
    return whole or [name for name in columns if known & {*re.split(r"[\W_]+", name.lower())}]


def _one(found: list[str], left: list[str], option: str, path: str) -> str:
    if len(found) == 1:
        return found[0]
    if not found:
        raise Refused(
            f"no column of {path!r} looks like the {option} ({', '.join(map(repr, left)) or 'none is left'}): say "
            f"which with --{option}=COLUMN."
        )
    raise Refused(
        f"the {option} of {path!r} may be column {' or '.join(map(repr, found))}: say which with --{option}=COLUMN, "
        f"such as --{option}={found[0]}."
    )


def _is_label(values: list[str]) -> bool:
    kinds = {*values}
    return 2 <= len(kinds) <= max(2, len(values) // 5) and max(map(len, kinds)) <= _LONGEST_LABEL


def _longest(table: Table, columns: list[str]) -> list[str]:
    """Returns the columns that may be the text: with words, and not much shorter than the longest."""
    lengths = {}
    for name in columns:
        values = table.column(name)
        worded = any(value and _number(value) is None for value in values)
        if worded and len({*values}) > 1:
            lengths[name] = sum(map(len, values)) / len(values)
    return [name for name, length in lengths.items() if 3 * length > max(lengths.values())]


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _check_texts(table: Table, path: str, text: str) -> None:
    values = table.column(text)
    empty = [line for line, value in zip(table.lines, values, strict=True) if not value.strip()]
    if empty:
        raise Refused(
            f"{len(empty)} of {len(values)} rows of {path!r} have no text in column {text!r}, the first on line "
            f"{empty[0]}: give them one, or remove them."
        )


def _check_labels(table: Table, path: str, label: str) -> None:
    values = table.column(label)
    lines = {value: line for value, line in zip(values, table.lines, strict=True)}
    counts = Counter(values)
    if "" in counts:
        raise Refused(
            f"{counts['']} of {len(values)} rows of {path!r} have no label in column {label!r}, such as line "
            f"{lines['']}: give them one, or remove them."
        )
    numbers = [_number(value) for value in counts]
    broken = any(number is not None and not number.is_integer() for number in numbers)
    if None not in numbers and len(counts) > 10 and (broken or len(counts) > len(values) / 5):
        raise Refused(
            f"column {label!r} of {path!r} has {len(counts)} different numbers in {len(values)} rows: that is "
            "regression, and classes are needed: write a few ranges in their place, or say another --label=COLUMN."
        )
    if len(counts) < 2:
        raise Refused(
            f"column {label!r} of {path!r} has one class, {next(iter(counts))!r}, in all {len(values)} rows: give rows "
            "of two or more, or say another --label=COLUMN."
        )
    single = sorted((line, value) for value, line in lines.items() if counts[value] == 1)
    if single:
        line, value = single[0]
        others = f" (and {len(single) - 1} other classes)" if len(single) > 1 else ""
        raise Refused(
            f"class {value!r} of {path!r} has one row, line {line}{others}: it cannot be trained on and tested: give "
            "it more rows or remove it, or say another --label=COLUMN."
        )


_WORDS = {"lower_words": "words in lower case and marks, those seen once unknown", "characters": "characters"}


def _tokens(texts: list[str]) -> tuple[str, int, str]:
    """Returns the kind of tokens of texts, how many of each text are read, and words on how many are longer."""
    words = tokenized(texts, "lower_words")
    counted = sum(map(len, words))
    # Where no blanks stand between words, a sentence is one.
    apart = counted and sum(len(word) for text in words for word in text) / counted < 12
    kind = "lower_words" if apart else "characters"
    lengths = np.array([len(text) for text in (words if apart else texts)])
    context = min(_LONGEST, 8 * -(-int(np.quantile(lengths, 0.98)) // 8))
    longer = (lengths > context).mean()
    said = f"; {longer:.1%} of the texts are longer, and cut to their first and last ones" if longer else ""
    return kind, max(8, context), said


def _copies(texts: list[str], label: np.ndarray) -> str:
    """Returns words on texts that are there more than once."""
    found: dict[str, list[int]] = {}
    for text, number in zip(texts, label, strict=True):
        found.setdefault(same_text(text), []).append(int(number))
    several = [labels for labels in found.values() if len(labels) > 1]
    if not several:
        return "; no text is there twice"
    contradicting = sum(len({*labels}) > 1 for labels in several)
    said = f", {contradicting} of them with different labels" if contradicting else ""
    return (
        f"; {len(several)} of the texts are there more than once ({sum(map(len, several))} rows{said}): all copies of "
        "one are in one split"
    )


def _form_line(path: str, form: Form, rows: int) -> str:
    header = "" if form.separator == JSON_LINES else ", with a header" if form.header else ", without a header"
    numbered = "" if form.header else ", so columns are called '1', '2' ..."
    quotes = "" if form.quotes else ", quotation marks as they stand"
    return f"{path}: {rows} labelled texts, {_NAMED_SEPARATORS[form.separator]}{header}{numbered}{quotes}"
