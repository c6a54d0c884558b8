"""From results to one row per variant."""

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.comparison.plan import Plan, Trial
from attention_jax.study.comparison.results import unfinished
from attention_jax.study.report.summary import summaries

PLAN = Plan(benchmarks=("listops",), variants=("scaled_dot", "linear", "performer"), seeds=(0, 1))


def only(results, plan=PLAN):
    [summary] = summaries(plan, results)
    return summary


def test_a_row_brings_the_seeds_together(result):
    row = only(
        [
            result("scaled_dot", 0, 0.5, ms_per_step=10.0, peak_bytes=100, train_seconds=1.0, parameters=7),
            result("scaled_dot", 1, 0.7, ms_per_step=30.0, peak_bytes=300, train_seconds=2.0, parameters=7),
        ]
    ).rows[0]
    assert row.variant == "scaled_dot"
    assert (row.score.mean, row.score.seeds) == (pytest.approx(0.6), 2)
    # 0.6 ± 1.27 by Student's t, which is no interval of an accuracy.
    assert (row.score.low, row.score.without) == (None, "too wide")
    assert (row.ms_per_step, row.peak_bytes, row.train_seconds, row.parameters) == (20.0, 300, 1.5, 7)


@pytest.mark.parametrize(
    ("metric", "order"),
    [("test_accuracy", ["performer", "scaled_dot", "linear"]), ("test_loss", ["linear", "scaled_dot", "performer"])],
)
def test_rows_are_ordered_best_first(result, metric, order):
    scores = {"scaled_dot": 0.5, "linear": 0.4, "performer": 0.6}
    summary = only([result(variant, 0, score, metric=metric) for variant, score in scores.items()])
    assert [row.variant for row in summary.rows] == order
    assert summary.higher_is_better == (metric == "test_accuracy")


def test_rows_without_a_score_come_last_in_the_order_of_the_plan(result):
    summary = only([result("performer", 0, 0.1)])
    assert [row.variant for row in summary.rows] == ["performer", "scaled_dot", "linear"]
    assert [row.variant for row in summary.scored] == ["performer"]


def test_each_variant_is_compared_with_the_reference_by_seed(result):
    plan = Plan(benchmarks=("listops",), variants=PLAN.variants, seeds=(0, 1, 2, 3))
    results = [result("scaled_dot", seed, 0.50 + 0.01 * seed) for seed in plan.seeds]
    results += [result("linear", seed, 0.40 + 0.009 * seed) for seed in plan.seeds]
    results += [result("performer", 1, 0.8)]
    summary = only(results, plan)
    rows = {row.variant: row for row in summary.rows}
    assert rows["scaled_dot"].comparison is None
    assert rows["linear"].comparison.difference == pytest.approx(-0.1015)
    assert rows["linear"].comparison.verdict == "worse"
    assert rows["performer"].comparison.difference == pytest.approx(0.29)
    assert rows["performer"].comparison.verdict == "too few seeds"
    assert summary.seeds == plan.seeds
    assert summary.groups == (("scaled_dot",), ("linear",))
    assert summary.outlook.more_seeds == {}
    assert summary.outlook.smallest > 0


def test_a_threshold_that_is_declared_is_used(result):
    results = [result("scaled_dot", 0, 0.5), result("scaled_dot", 1, 0.7)]
    [summary] = summaries(PLAN, results, solved_at={"listops": 0.6})
    assert summary.solved_at == 0.6
    assert (summary.rows[0].solved.count, summary.rows[0].score.without) == (1, "solved or not")


def test_a_gap_within_a_variant_makes_a_task_solved_or_not(result):
    scores = {"scaled_dot": (1.0, 0.3), "linear": (0.3, 0.31)}
    summary = only([result(v, seed, score) for v, runs in scores.items() for seed, score in enumerate(runs)])
    assert summary.solved_at == pytest.approx((1 + 0.31) / 2)
    assert [row.solved.count for row in summary.scored] == [1, 0]


def test_without_a_reference_there_is_no_comparison(result):
    rows = {row.variant: row for row in only([result("linear", 0, 0.4)]).rows}
    assert rows["linear"].score is not None
    assert rows["linear"].comparison is None


def test_a_failed_seed_is_named_and_left_out_of_the_mean(result):
    failed = unfinished(Trial("listops", "linear", 1), status="failed", reason="nan\n at step 4")
    row = only([result("linear", 0, 0.4), failed]).rows[0]
    assert (row.score.mean, row.score.seeds) == (0.4, 1)
    assert row.notes == ("failed (seed 1): nan at step 4",)


def test_equal_reasons_are_told_once_and_different_ones_apart():
    same = [unfinished(Trial("listops", "linear", seed), status="refused", reason="not causal") for seed in (0, 1)]
    two = [unfinished(Trial("listops", "performer", seed), status="failed", reason=f"nan {seed}") for seed in (0, 1)]
    notes = {row.variant: row.notes for row in only([*same, *two]).rows}
    assert notes["linear"] == ("refused (seeds 0, 1): not causal",)
    assert notes["performer"] == ("failed (seed 0): nan 0", "failed (seed 1): nan 1")


def test_what_was_not_run_is_said(result):
    notes = {row.variant: row.notes for row in only([result("scaled_dot", 0, 0.4)]).rows}
    assert notes["scaled_dot"] == ("not run (seed 1): the comparison was stopped",)
    assert notes["linear"] == ("not run (seeds 0, 1): the comparison was stopped",)


def test_a_benchmark_without_a_finished_run_has_no_metric():
    summary = only([])
    assert (summary.metric, summary.higher_is_better, summary.scored) == (None, None, [])


def test_two_metrics_on_one_benchmark_are_refused(result):
    with pytest.raises(Refused, match="listops has results under test_accuracy and test_loss"):
        only([result("scaled_dot", 0, 0.5), result("linear", 0, 0.4, metric="test_loss")])


def test_results_outside_the_plan_are_left_out(result):
    summary = only([result("scaled_dot", 0, 0.5), result("scaled_dot", 7, 0.0), result("other", 0, 1.0)])
    assert summary.rows[0].score.mean == 0.5
    assert [row.variant for row in summary.rows] == list(PLAN.variants)
