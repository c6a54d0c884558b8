"""Tables as they are written: separators, quotes, headers, JSON lines."""

import pytest

from attention_jax.data.table import Form, parse_table, read_table, separator_of


def test_a_quoted_field_holds_separators_and_ends_of_lines():
    table = parse_table('text,label\n"a, ""b""\nc",yes\n\nd,no\n', Form(","), path="own.csv")
    assert table.columns == ["text", "label"]
    assert table.rows == [['a, "b"\nc', "yes"], ["d", "no"]]
    assert table.lines == [3, 5]
    assert table.column("label") == ["yes", "no"]


def test_without_a_header_columns_are_numbered_and_without_quotes_a_mark_is_a_character():
    table = parse_table('"a\tyes\nb" c\tno\n', Form("\t", header=False, quotes=False), path="own.tsv")
    assert (table.columns, table.rows) == (["1", "2"], [['"a', "yes"], ['b" c', "no"]])


def test_json_lines_have_the_columns_of_all_lines_but_lists_and_objects():
    lines = '{"text": "a\\nb", "label": 1, "more": [1]}\n\n{"label": true, "text": null, "note": "x"}\n'
    table = parse_table(lines, Form("json"), path="own.jsonl")
    assert table.columns == ["text", "label", "note"]
    assert table.rows == [["a\nb", "1", ""], ["", "true", "x"]]
    assert table.lines == [1, 3]


def test_a_field_may_be_longer_than_pythons_own_limit(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(f"text,label\n{'word ' * 40_000},yes\n")
    assert len(read_table(str(path), Form(",")).rows[0][0]) == 200_000


@pytest.mark.parametrize(
    ("name", "separator"), [("a.csv", ","), ("a.TSV", "\t"), ("a.jsonl", "json"), ("a.ndjson", "json"), ("a", ",")]
)
def test_the_name_of_a_file_says_its_separator(name, separator):
    assert separator_of(name) == separator


@pytest.mark.parametrize(
    ("content", "form", "words"),
    [
        ("a,b\n1,2,3\n", Form(","), ["line 2 of 'own'", "3 fields", "header 2"]),
        ("a,b\n1\n", Form(",", header=False), ["line 2", "1 fields", "first row 2"]),
        ('a,b\n"x"y,2\n', Form(","), ["line 2", "cannot be read"]),
        ('{"a": 1}\n{"a": \n', Form("json"), ["line 2", "no JSON", "one object on each line"]),
        ('{"a": 1}\n[1]\n', Form("json"), ["line 2", "no JSON object"]),
    ],
)
def test_what_is_no_table_is_refused(refused, content, form, words):
    with refused(*words):
        parse_table(content, form, path="own")
