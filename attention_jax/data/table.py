"""Rows of named fields, from a file of comma or otherwise separated values, or of JSON lines."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attention_jax.base.errors import Refused
from attention_jax.data.text import read_text

JSON_LINES = "json"
SEPARATORS = (",", "\t", ";", "|")
# What a field may be long: Python's own limit, 131072 characters, is less than a long document.
_LONGEST_FIELD = 2**31 - 1


@dataclass(frozen=True)
class Form:
    """How a table is written.

    Attributes:
      separator: what stands between two fields, or "json": each line is a JSON object.
      header: whether the first line names the columns; else they are named "1", "2" and so on. JSON lines name theirs.
      quotes: whether a field may be quoted, and hold separators and ends of lines then.
    """

    separator: str
    header: bool = True
    quotes: bool = True


@dataclass(frozen=True)
class Table:
    """Fields as text.

    Attributes:
      columns: their names, in the order of the file.
      rows: the fields of each row, in the order of the columns.
      lines: the line of the file that each row ends on, from 1.
    """

    columns: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        """Returns the fields of a column that is there once."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


def separator_of(path: str) -> str:
    """Returns what the name of a file says of its separator."""
    return {".tsv": "\t", ".jsonl": JSON_LINES, ".ndjson": JSON_LINES}.get(Path(path).suffix.lower(), ",")


def read_table(path: str, form: Form) -> Table:
    """Returns the table of a UTF-8 file. Blank lines are no rows.

    Raises:
      Refused: the file cannot be read, or is no table of this form.
    """
    return parse_table(read_text(path), form, path=path)


def parse_table(content: str, form: Form, *, path: str) -> Table:
    """Returns the table of a text, which the file `path` holds; raises as `read_table`."""
    if form.separator == JSON_LINES:
        return _json_lines(content, path)
    rows = list(_separated(content, form, path))
    if not rows:
        return Table([], [], [])
    columns = rows[0][1] if form.header else [str(number) for number in range(1, len(rows[0][1]) + 1)]
    body = rows[1:] if form.header else rows
    for line, row in body:
        if len(row) != len(columns):
            first = "header" if form.header else "first row"
            raise Refused(
                f"line {line} of {path!r} has {len(row)} fields, and the {first} {len(columns)}: quote a field that "
                "holds the separator."
            )
    return Table(columns, [row for _, row in body], [line for line, _ in body])


def _separated(content: str, form: Form, path: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(_LONGEST_FIELD)
    quoted: dict[str, Any] = {} if form.quotes else {"quoting": csv.QUOTE_NONE}
    rows = csv.reader(io.StringIO(content), delimiter=form.separator, strict=True, **quoted)
    try:
        for row in rows:
            if row:
                yield rows.line_num, row
    except csv.Error as error:
        raise Refused(f"line {rows.line_num} of {path!r} cannot be read ({error}): quote its fields anew.") from None


def _json_lines(content: str, path: str) -> Table:
    objects, lines = [], []
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise Refused(
                f"line {number} of {path!r} is no JSON ({error}): write one object on each line, such as "
                '{"text": "...", "label": "..."}.'
            ) from None
        if not isinstance(value, dict):
            raise Refused(
                f'line {number} of {path!r} is no JSON object: write each as one, such as {{"text": "...", "label": '
                '"..."}.'
            )
        objects.append(value)
        lines.append(number)
    columns = list(dict.fromkeys(key for value in objects for key in value))
    # A list or an object is no field of a text or a label.
    flat = [key for key in columns if not any(isinstance(value.get(key), (list, dict)) for value in objects)]
    return Table(flat, [[_field(value.get(key)) for key in flat] for value in objects], lines)


def _field(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)
