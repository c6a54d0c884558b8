"""Slices of a benchmark: their means, what is claimed of them, and where the reports show it."""

import dataclasses
import json

import numpy as np
import pytest

from attention_jax.study.comparison.plan import Plan
from attention_jax.study.report.report import summarise
from attention_jax.study.report.slices import Slices, slices_of
from attention_jax.study.report.slices_report import slice_cells, slice_sentences
from attention_jax.study.report.summary import summaries

LABELS = ("pairs=4", "pairs=16", "distance=2-3", "distance=4-7")
PLAN = Plan(("mqar",), ("scaled_dot", "linear", "a|<b>"), (0, 1, 2, 3, 4))


def results_of(result, plan=PLAN, *, drop=None):
    """Returns results of which linear fails at sixteen pairs, in every seed, and nothing else differs."""
    random = np.random.default_rng(0)
    made = []
    for trial in plan.trials():
        slices = {label: 0.9 + 0.01 * float(random.standard_normal()) for label in LABELS}
        if trial.variant == "linear":
            slices["pairs=16"] -= 0.4
        if drop == trial.seed:
            del slices["distance=2-3"]
        score = float(np.mean(list(slices.values())))
        one = result(trial.variant, trial.seed, score, benchmark="mqar", slices=slices)
        made.append(one)
    return made


@pytest.fixture
def slices(result) -> Slices:
    (summary,) = summaries(PLAN, results_of(result))
    assert summary.slices is not None
    return summary.slices


def test_a_variant_is_worse_in_the_slice_where_it_fails_and_in_no_other(slices):
    assert slices.labels == LABELS
    assert slices.slicings == {"pairs": ["4", "16"], "distance": ["2-3", "4-7"]}
    verdicts = {(v, label): one.verdict for v, of in slices.comparisons.items() for label, one in of.items()}
    assert verdicts.pop(("linear", "pairs=16")) == "worse"
    assert set(verdicts.values()) == {"not separated"}
    assert slices.comparisons["linear"]["pairs=16"].difference == pytest.approx(-0.4, abs=0.03)
    assert slices.means["linear"]["pairs=16"] == pytest.approx(0.5, abs=0.02)


def test_where_lower_is_better_the_same_difference_is_better(result):
    finished = {v: [one for one in results_of(result) if one.variant == v] for v in PLAN.variants}
    found = slices_of(finished, reference="scaled_dot", rising=False)
    assert found is not None
    assert found.comparisons["linear"]["pairs=16"].verdict == "better"


def test_two_seeds_give_means_and_no_verdict(result):
    plan = dataclasses.replace(PLAN, seeds=(0, 1))
    (summary,) = summaries(plan, results_of(result, plan))
    assert summary.slices is not None
    assert {one.verdict for of in summary.slices.comparisons.values() for one in of.values()} == {"too few seeds"}
    assert slice_sentences(summary.slices)[0] == "Too few shared seeds for a verdict in any slice."


def test_a_slice_that_a_run_lacks_is_left_out_and_without_any_there_is_nothing(result):
    (summary,) = summaries(PLAN, results_of(result, drop=3))
    assert summary.slices is not None
    assert summary.slices.labels == ("pairs=4", "pairs=16", "distance=4-7")
    (without,) = summaries(PLAN, [dataclasses.replace(one, slices=None) for one in results_of(result)])
    assert without.slices is None


def test_a_variant_without_the_reference_s_seeds_has_means_alone(result):
    results = [one for one in results_of(result) if one.variant != "scaled_dot" or one.seed < 2]
    (summary,) = summaries(PLAN, [one for one in results if one.variant != "linear" or one.seed > 1])
    assert summary.slices is not None
    assert set(summary.slices.means) == set(PLAN.variants)
    assert set(summary.slices.comparisons) == {"a|<b>"}


def test_the_table_has_a_verdict_where_there_is_one_and_the_sentence_says_what_it_counts(slices):
    head, *rows = slice_cells(slices)
    assert head == ("variant", *LABELS)
    assert [row[0] for row in rows] == list(PLAN.variants)
    assert [text.rpartition(" ")[2] for text in rows[1]].count("worse") == 1
    claimed, rule = slice_sentences(slices)
    assert claimed == "Against scaled_dot: linear is worse in pairs=16."
    assert "counts all 4 slices and all variants" in rule


def test_every_report_shows_the_slices(result, tmp_path):
    summarise(PLAN, results_of(result), tmp_path, command="the command")
    markdown = (tmp_path / "report.md").read_text()
    assert "### mqar: slices" in markdown
    assert "| variant | pairs=4 | pairs=16 | distance=2-3 | distance=4-7 |" in markdown
    assert r"| a\|<b> |" in markdown
    (benchmark,) = json.loads((tmp_path / "report.json").read_text())["benchmarks"]
    assert benchmark["slices"]["comparisons"]["linear"]["pairs=16"]["verdict"] == "worse"
    page = (tmp_path / "report.html").read_text()
    assert "<h2>mqar: slices</h2>" in page
    assert 'id="slices-0-0"' in page
    assert 'id="slices-0-1"' in page
    assert "a|&lt;b&gt;</td>" in page
