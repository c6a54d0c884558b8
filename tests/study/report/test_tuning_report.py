"""The tuning in the reports: what it says in words, what the chart shows, what a program reads."""

import json

import altair as alt
import pytest

from attention_jax.study.comparison.plan import Plan
from attention_jax.study.comparison.tuning import LEARNING_RATE, Tuned
from attention_jax.study.report.charts import Look
from attention_jax.study.report.report import summarise
from attention_jax.study.report.summary import summaries
from attention_jax.study.report.tuning_report import (
    rates_chart,
    sentences,
    settings_explanation,
    trials_table,
    tuning_json,
    tuning_markdown,
    tuning_sections,
)
from tests.study.comparison.test_tuning import tried
from tests.study.conftest import make_result

LOOK = Look(["scaled_dot", "linear"])
PLAN = Plan(("mqar",), ("scaled_dot", "linear"), (0, 1, 2))


def tuned(variant: str, scores: dict[float, float | None], *, benchmark: str = "mqar", **others: object) -> Tuned:
    """Returns the search of a variant by its scores at learning rates."""
    found = tried(scores, metric="validation_accuracy", **others)
    return Tuned(benchmark, variant, rising=True, tried=tuple(found))


SEARCHES = [
    tuned("scaled_dot", {1e-3: 0.90, 1e-2: 0.92, 1e-1: None}),
    tuned("linear", {1e-3: 0.30, 1e-2: 0.60, 1e-1: 0.80}),
]


def test_a_variant_is_said_with_its_point_its_window_its_edge_and_what_failed():
    one, two = sentences(SEARCHES)
    assert one == (
        "scaled_dot: learning_rate 0.01, with validation_accuracy 0.9200, of 3 trials. Learning rates from 0.001 to "
        "0.01 work, and maybe below, where none was tried. 1 did not run to the end (nan)."
    )
    assert two == (
        "linear: learning_rate 0.1, with validation_accuracy 0.8000, of 3 trials. Of the learning rates tried 0.1 "
        "alone works. The best learning_rate is the largest value tried: widen the range."
    )
    (none,) = sentences([tuned("linear", {1e-3: None})])
    assert none == "linear: none of 1 trial ran to its end."


def test_every_trial_has_a_row_and_the_chosen_one_is_marked():
    head, rows = trials_table(SEARCHES)
    assert head == ["variant", LEARNING_RATE, "validation_accuracy", "what became of it"]
    assert rows[:3] == [
        ["scaled_dot", "0.001", "0.9000", ""],
        ["scaled_dot", "0.01", "0.9200", "chosen"],
        ["scaled_dot", "0.1", "-", "failed: nan"],
    ]
    assert len(rows) == 6


def test_the_chart_has_a_line_a_variant_a_ring_on_the_chosen_and_a_cross_on_what_failed():
    drawn = rates_chart(SEARCHES, LOOK)
    assert drawn is not None
    spec = drawn.to_dict()
    alt.LayerChart.from_dict(spec)
    line, points, ring, cross = spec["layer"]
    assert len(line["data"]["values"]) == len(points["data"]["values"]) == 5
    assert ring["transform"] == [{"filter": "datum.chosen"}]
    assert [row["rate"] for row in points["data"]["values"] if row["chosen"]] == [1e-2, 1e-1]
    assert [(row["variant"], row["rate"], row["reason"]) for row in cross["data"]["values"]] == [
        ("scaled_dot", 1e-1, "nan")
    ]
    assert line["encoding"]["x"]["scale"]["type"] == "log"


def test_the_line_goes_through_the_best_of_each_rate():
    both = [*tried({1e-3: 2.0, 1e-2: 3.0}, width=64), *tried({1e-3: 5.0, 1e-2: 2.01}, width=128)]
    drawn = rates_chart([Tuned("mqar", "linear", rising=False, tried=tuple(both))], LOOK)
    assert drawn is not None
    spec = drawn.to_dict()
    assert [row["score"] for row in spec["layer"][0]["data"]["values"]] == [2.0, 2.01]
    assert len(spec["layer"]) == 3


def test_there_is_no_chart_without_learning_rates_or_without_a_trial_that_ended():
    assert rates_chart([tuned("linear", {1e-3: None})], LOOK) is None
    (section,) = tuning_sections([tuned("linear", {1e-3: None})], LOOK)
    assert section.figures == []
    assert "<td>failed: nan</td>" in section.table


def test_each_benchmark_has_a_section_on_the_page_and_in_the_text():
    searches = [*SEARCHES, tuned("linear", {1e-3: 0.5, 1e-2: 0.4}, benchmark="<copy>")]
    first, second = tuning_sections(searches, LOOK)
    assert (first.title, second.title) == ("Tuning: mqar", "Tuning: <copy>")
    assert {figure.name for section in (first, second) for figure in section.figures} == {"tuning0", "tuning1"}
    text = tuning_markdown(searches)
    assert text.count("\n## Tuning: ") == 2
    assert "| scaled_dot | 0.1 | - | failed: nan |" in text
    assert tuning_markdown([]) == ""
    assert tuning_sections([], LOOK) == []


def test_a_program_reads_every_trial_the_chosen_point_and_the_window():
    assert tuning_json([]) is None
    one, two = json.loads(json.dumps(tuning_json(SEARCHES), allow_nan=False))
    assert (one["chosen"], one["score"]) == ({LEARNING_RATE: 0.01}, 0.92)
    assert one["learning_rates"] == {"low": 1e-3, "high": 1e-2, "best": 1e-2, "open_below": True, "open_above": False}
    assert two["at_the_edge"] == {LEARNING_RATE: "largest"}
    assert [trial["status"] for trial in one["trials"]] == ["done", "done", "failed"]


@pytest.mark.parametrize(("metric", "lines"), [("test_accuracy", 2), ("validation_accuracy", 3)])
def test_the_explanation_says_whose_the_settings_are(metric, lines):
    results = [make_result("linear", 0, 0.5, benchmark="mqar", metric=metric)]
    found = summaries(PLAN, results)
    (line,) = settings_explanation([], found)
    assert "no variant was tuned" in line
    assert len(settings_explanation(SEARCHES, found)) == lines
    assert ("they flatter" in settings_explanation(SEARCHES, found)[-1]) == (lines == 3)


def test_the_reports_have_it(tmp_path, capsys):
    results = [make_result(variant, seed, 0.5, benchmark="mqar") for variant in PLAN.variants for seed in PLAN.seeds]
    (tmp_path / "results.jsonl").write_text("")
    summarise(PLAN, results, tmp_path, command="launch.py compare", tuned=SEARCHES)
    out = " ".join(capsys.readouterr().out.split())
    assert "tuning on mqar: linear: learning_rate 0.1" in out
    assert str(tmp_path / "tuning.jsonl") in out
    assert json.loads((tmp_path / "report.json").read_text())["tuning"][0]["variant"] == "scaled_dot"
    assert "## Tuning: mqar" in (tmp_path / "report.md").read_text()
    assert '<div class="chart" id="tuning0">' in (tmp_path / "report.html").read_text()
    summarise(PLAN, results, tmp_path, command="launch.py compare")
    assert json.loads((tmp_path / "report.json").read_text())["tuning"] is None
    assert "tuning.jsonl" not in capsys.readouterr().out
