"""The same numbers on the terminal, in Markdown and in HTML."""

import io
from html.parser import HTMLParser

import pytest
from rich.console import Console

from attention_jax.study.plan import Plan
from attention_jax.study.statistics import Estimate
from attention_jax.study.summary import summaries
from attention_jax.study.tables import (
    COLUMNS,
    cells,
    count,
    explanation,
    html_table,
    markdown_table,
    memory,
    milliseconds,
    number,
    plus_minus,
    terminal_table,
    verdicts,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.83123, "0.8312"),
        (-0.5, "-0.5000"),
        (9.87654, "9.8765"),
        (12.34567, "12.346"),
        (120.5, "120.50"),
        (12345.6, "12346"),
    ],
)
def test_numbers_have_the_decimals_of_their_size(value, text):
    assert number(value) == text


def test_a_half_width_has_the_decimals_of_its_mean():
    assert plus_minus(Estimate(120.512, 2.951, 3)) == "120.51 ± 2.95"
    assert plus_minus(Estimate(3.0, 3.8, 3), like=120.0, sign="+") == "+3.00 ± 3.80"
    assert plus_minus(Estimate(0.8, None, 1)) == "0.8000 ± -"


@pytest.mark.parametrize(
    ("value", "text"), [(950, "950"), (65_400, "65.4K"), (1_234_567, "1.23M"), (7_010_000_000, "7.01B")]
)
def test_counts(value, text):
    assert count(value) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(12, "12 B"), (1024, "1.0 KiB"), (3 * 2**20, "3.0 MiB"), (123.4 * 2**20, "123 MiB"), (1.5 * 2**30, "1.5 GiB")],
)
def test_memory_in_units_for_people(size, text):
    assert memory(size) == text


def test_milliseconds():
    assert [milliseconds(value) for value in (0.5, 9.876, 20.0, 1234.5)] == ["0.50", "9.88", "20.00", "1234"]


@pytest.fixture
def listops(plan, mixed):
    return summaries(plan, mixed[0])[0]


@pytest.fixture
def copy(plan, mixed):
    return summaries(plan, mixed[0])[1]


def render(summary, plan, *, width=100):
    stream = io.StringIO()
    Console(file=stream, width=width).print(terminal_table(summary, plan=plan))
    return stream.getvalue()


def test_the_cells_of_a_row(plan, listops):
    by_variant = {row.variant: cells(row, plan=plan) for row in listops.rows}
    # The scores are 0.79, 0.80, 0.81: s = 0.01, and 4.303 * 0.01 / sqrt(3) = 0.0248.
    assert by_variant["scaled_dot"] == (
        *("scaled_dot", "0.8000 ± 0.0248", "3/3", "1.23M", "20.00", "3.0 MiB", "12.5"),
        *("-", "reference"),
    )
    assert by_variant["linear"][-2:] == ("-0.1000 ± 0.0000", "worse")
    assert by_variant["performer:features=64"][2] == "2/3"


def test_a_row_without_a_score_says_what_became_of_it(plan, copy):
    assert cells(copy.rows[-1], plan=plan) == ("linear", "refused", "0/3", "-", "-", "-", "-", "-", "-")


def test_a_terminal_table_fits_100_columns_and_breaks_no_number(plan, listops):
    text = render(listops, plan)
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text  # no colour codes where there is no terminal
    for cell in ("0.8000 ± 0.0248", "1.23M", "20.00", "3.0 MiB", "12.5", "2/3", "worse", "listops: test_accuracy"):
        assert cell in text
    order = [text.index(f"\n{variant}") for variant in ("scaled_dot", "performer", "linear")]
    assert order == sorted(order)


def test_the_reasons_are_under_the_terminal_table_with_their_brackets(plan, listops, copy):
    assert "performer:features=64 failed (seed 1): the loss is nan at step 40" in render(listops, plan)
    # Rich reads [name] as a style unless it is told not to.
    assert "linear refused (seeds 0, 1, 2): linear <cannot> copy | use [scaled_dot]" in render(copy, plan)


def test_long_specs_are_broken_and_their_numbers_are_not(result):
    spec = "reformer:rounds=4,buckets=32,chunk=64,causal_mode=approximate"
    plan = Plan(benchmarks=("listops",), variants=("scaled_dot", spec), seeds=(0, 1))
    results = [result(variant, seed, 0.5 + seed) for variant in plan.variants for seed in plan.seeds]
    text = render(summaries(plan, results)[0], plan)
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("1.0000 ± 6.3531") == 2
    assert text.count("not separated") == 1


def test_markdown_keeps_its_columns_when_a_reason_or_a_spec_has_a_bar(result):
    spec = "sparse:mask=Causal()|Global(4)"
    plan = Plan(benchmarks=("listops",), variants=("scaled_dot", spec), seeds=(0,))
    text = markdown_table(summaries(plan, [result(variant, 0, 0.5) for variant in plan.variants])[0], plan=plan)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert {line.replace(r"\|", "").count("|") for line in rows} == {len(COLUMNS) + 1}
    assert r"sparse:mask=Causal()\|Global(4)" in text


def test_markdown_tells_the_verdicts_and_the_reasons(plan, copy):
    text = markdown_table(copy, plan=plan)
    assert text.startswith("## copy\n\nScore: test_accuracy, higher is better. Against scaled_dot: not separated:")
    assert "- linear refused (seeds 0, 1, 2): linear <cannot> copy" in text


def test_verdicts_are_grouped(plan, listops):
    assert verdicts(listops) == "Against scaled_dot: not separated: performer:features=64; worse: linear."
    [empty] = summaries(Plan(benchmarks=("a",), variants=("x", "y"), seeds=(0,)), [])
    assert verdicts(empty) == "Nothing to compare with the reference, x."


class Cells(HTMLParser):
    """Collects the text of the cells, row by row, and checks that every tag is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_the_html_table_holds_the_cells_and_escapes_the_reasons(plan, listops, copy):
    rows = Cells(html_table(listops, plan=plan)).rows
    assert rows[0] == list(COLUMNS)
    assert rows[1] == list(cells(listops.rows[0], plan=plan))
    assert rows[3] == ["", "failed (seed 1): the loss is nan at step 40"]
    text = html_table(copy, plan=plan)
    assert "<cannot>" not in text
    assert Cells(text).rows[-1] == ["linear", "refused (seeds 0, 1, 2): linear <cannot> copy | use [scaled_dot]"]


def test_the_explanation_knows_the_number_of_seeds():
    def lines(seeds):
        return " ".join(explanation(Plan(benchmarks=("a",), variants=("x",), seeds=seeds)))

    assert "12.7 with the 2 seeds here and 3.2 with 4" in lines((0, 1))
    assert "4.3 with the 3 seeds here" in lines((0, 1, 2))
    assert "no interval and no verdict" in lines((0,))
    assert "not corrected" in " ".join(lines((0,)).split())
