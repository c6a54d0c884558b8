"""The same numbers on the terminal, in Markdown and in HTML."""

import io
from html.parser import HTMLParser

import pytest
from rich.console import Console

from attention_jax.study.comparison.plan import Plan
from attention_jax.study.report.costs import count
from attention_jax.study.report.html_table import html_table, overall_html
from attention_jax.study.report.numbers import number
from attention_jax.study.report.overall import overall
from attention_jax.study.report.sentences import explanation, sentences, size_apart, verdicts
from attention_jax.study.report.summary import summaries
from attention_jax.study.report.tables import (
    cells,
    columns,
    markdown_table,
    overall_markdown,
    overall_terminal,
    score_text,
    terminal_table,
)
from attention_jax.study.statistics.intervals import estimate


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


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        ((0.79, 0.80, 0.81), "0.8000 ± 0.0248"),
        ((0.99, 0.98, 0.94), "0.9700 [0.855, 1.000]"),
        ((1.0, 0.3, 1.0), "0.7667 (0.300 to 1.000)"),
        ((1.0, 1.0, 1.0), "1.0000 (all equal)"),
        ((0.8,), "0.8000"),
    ],
)
def test_a_score_shows_its_interval_or_its_runs(runs, text):
    assert score_text(estimate(runs, within=(0.0, 1.0))) == text


def test_the_ends_of_an_interval_have_the_decimals_of_the_mean():
    assert score_text(estimate([120.5, 119.5, 121.0])) == "120.33 ± 1.90"


@pytest.mark.parametrize(
    ("value", "text"), [(950, "950"), (65_400, "65.4K"), (1_234_567, "1.23M"), (7_010_000_000, "7.01B")]
)
def test_counts(value, text):
    assert count(value) == text


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
    by_variant = {row.variant: cells(row, summary=listops, plan=plan) for row in listops.rows}
    # The scores are 0.79, 0.80, 0.81: s = 0.01, and 4.303 * 0.01 / sqrt(3) = 0.0248.
    assert by_variant["scaled_dot"] == (
        *("scaled_dot", "0.8000 ± 0.0248", "3/3", "1.23M", "20.00", "3.0 MiB", "12.5"),
        *("-", "-", "a", "reference"),
    )
    # Three seeds of two variants, and no noise between them.
    assert by_variant["linear"][-4:] == ("-0.1000", "<0.001", "b", "worse")
    assert by_variant["performer:features=64"][2] == "2/3"
    assert by_variant["performer:features=64"][-4:] == ("-0.0500 ± 0.8894", "-", "-", "too few seeds")


def test_a_row_without_a_score_says_what_became_of_it(plan, copy):
    texts = cells(copy.rows[-1], summary=copy, plan=plan)
    assert texts == ("linear", "refused", "0/3", *["-"] * (len(columns(copy)) - 3))


def test_a_terminal_table_fits_100_columns_and_breaks_no_number(plan, listops):
    text = render(listops, plan)
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text  # no colour codes where there is no terminal
    for cell in ("0.8000 ± 0.0248", "1.23M", "20.00", "3.0 MiB", "2/3", "worse", "listops: test_accuracy"):
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
    results = [result(variant, seed, 0.5 + 0.01 * seed) for variant in plan.variants for seed in plan.seeds]
    text = render(summaries(plan, results)[0], plan)
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("0.5050 ± 0.0635") == 2
    assert text.count("too few seeds") == 1


def test_markdown_keeps_its_columns_when_a_reason_or_a_spec_has_a_bar(result):
    spec = "sparse:mask=Causal()|Global(4)"
    plan = Plan(benchmarks=("listops",), variants=("scaled_dot", spec), seeds=(0,))
    text = markdown_table(summaries(plan, [result(variant, 0, 0.5) for variant in plan.variants])[0], plan=plan)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert len({line.replace(r"\|", "").count("|") for line in rows}) == 1
    assert r"sparse:mask=Causal()\|Global(4)" in text


def test_markdown_tells_the_verdicts_and_the_reasons(plan, copy):
    text = markdown_table(copy, plan=plan)
    assert text.startswith("## copy\n\nScore: test_accuracy, higher is better. Against scaled_dot: not separated:")
    assert "- linear refused (seeds 0, 1, 2): linear <cannot> copy" in text


def test_verdicts_are_grouped(plan, listops):
    assert verdicts(listops) == "Against scaled_dot: too few seeds: performer:features=64; worse: linear."
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
    assert rows[0] == list(columns(listops))
    assert rows[1] == list(cells(listops.rows[0], summary=listops, plan=plan))
    assert rows[3] == ["", "failed (seed 1): the loss is nan at step 40"]
    text = html_table(copy, plan=plan)
    assert "<cannot>" not in text
    assert Cells(text).rows[-1] == ["linear", "refused (seeds 0, 1, 2): linear <cannot> copy | use [scaled_dot]"]


def test_a_variant_of_another_size_than_the_reference_is_flagged(plan, result):
    sizes = {"scaled_dot": 1_000_000, "linear": 1_100_000, "performer:features=64": 1_430_000}
    results = [result(variant, seed, 0.8, parameters=size) for variant, size in sizes.items() for seed in range(3)]
    summary = summaries(plan, results)[0]
    place = columns(summary).index("params")
    shown = {row.variant: cells(row, summary=summary, plan=plan)[place] for row in summary.rows}
    assert shown == {"scaled_dot": "1M", "linear": "1.1M", "performer:features=64": "1.43M +43%"}
    said = "Not of the reference's size, to 10% of its parameters: performer:features=64 +43%."
    assert said in sentences(summary, plan=plan)
    assert "1.43M +43%" in render(summary, plan)
    smaller = [result(v, 0, 0.8, parameters=size) for v, size in (("scaled_dot", 100), ("linear", 80))]
    assert [size_apart(row, summaries(plan, smaller)[0]) for row in summaries(plan, smaller)[0].rows[:2]] == [
        None,
        "-20%",
    ]


def test_the_explanation_knows_the_number_of_seeds():
    def lines(seeds):
        return " ".join(explanation(Plan(benchmarks=("a",), variants=("x",), seeds=seeds)))

    assert "With 2 seeds there is none: give at least 3" in lines((0, 1))
    assert "With 1 seed there is none" in lines((0,))
    assert "give at least" not in lines((0, 1, 2))


@pytest.fixture
def recall(result):
    """A plan and the summary of a task that some runs solve."""
    plan = Plan(benchmarks=("mqar",), variants=("scaled_dot", "linear", "uniform"), seeds=(0, 1, 2))
    scores = {"scaled_dot": (0.99, 0.31, 1.0), "linear": (0.3, 0.32, 0.31), "uniform": (0.3, 0.3, 0.31)}
    results = [
        result(v, seed, score, benchmark="mqar") for v, runs in scores.items() for seed, score in enumerate(runs)
    ]
    return plan, summaries(plan, results)[0]


def test_a_task_that_is_solved_or_not_shows_in_how_many_seeds(recall):
    plan, summary = recall
    texts = dict(zip(columns(summary), cells(summary.rows[0], summary=summary, plan=plan), strict=True))
    assert (texts["score"], texts["solved"]) == ("0.7667", "2 of 3 [0.09, 0.99]")
    text = render(summary, plan)
    assert "2 of 3 [0.09, 0.99]" in text
    assert "solved means from 0.6550 on" in text
    assert max(map(len, text.splitlines())) <= 100


def test_over_several_benchmarks(plan, result):
    results = [
        result(t.variant, t.seed, 0.5 + 0.1 * plan.variants.index(t.variant) + 0.01 * t.seed, benchmark=t.benchmark)
        for t in plan.trials()
    ]
    together = overall(summaries(plan, results))
    text = overall_markdown(together)
    assert "| performer:features=64 | 1.00 | 1.00 [" in text
    assert "| scaled_dot | 3.00 | reference |" in text
    assert "no two can, on so few benchmarks" in text
    names = [row[0] for row in Cells(overall_html(together)).rows]
    assert names == ["variant", "performer:features=64", "linear", "scaled_dot"]
    assert overall_terminal(together).row_count == 3


def test_one_benchmark_has_no_ranks(plan, mixed):
    assert overall(summaries(plan, mixed[0])[:1]) is None
    assert overall([]) is None


def test_a_variant_that_spreads_far_more_is_named(result):
    plan = Plan(benchmarks=("lm",), variants=("scaled_dot", "linear", "uniform", "mega"), seeds=(0, 1, 2))
    results = []
    for trial in plan.trials():
        spread = 0.5 if trial.variant == "mega" else 0.01
        score = 2 + spread * (trial.seed - 1)
        results.append(result(trial.variant, trial.seed, score, benchmark="lm", metric="test_loss"))
    said = " ".join(sentences(summaries(plan, results)[0], plan=plan))
    assert "The seeds of mega spread more than 10 times as much" in said


def test_why_there_are_no_verdicts_and_which_seeds_they_use(result):
    plan = Plan(benchmarks=("lm",), variants=("scaled_dot", "linear"), seeds=(0, 1, 2, 3))
    results = [result(t.variant, t.seed, 0.5 + 0.01 * t.seed, benchmark="lm") for t in plan.trials()]
    said = sentences(summaries(plan, results[:6])[0], plan=plan)
    assert said == ["A verdict needs 3 seeds or more that variant and reference share; here the most is 2."]
    said = sentences(summaries(plan, results[:7])[0], plan=plan)
    assert said[0] == "The verdicts use the seeds that every variant with a verdict has: seeds 0, 1, 2, without seed 3."


def test_with_what_around_their_kernels_variants_were_trained_is_said(result):
    names = (
        "scaled_dot",
        "again:=delta_net:recipe=none",
        "hgrn2",
        "wide:=model.attention=scaled_dot:recipe=gated",
        "mla",
    )
    plan = Plan(benchmarks=("lm",), variants=names, seeds=(0,))
    results = [result(name, 0, 0.5, benchmark="lm") for name in names]
    said = sentences(summaries(plan, results)[0], plan=plan)
    assert (
        "Trained with more than the kernel, which recipe=none leaves out. hgrn2: silu on query; rms norm of each head. "
        "scaled_dot:recipe=gated: sigmoid gate by channel."
    ) in said
