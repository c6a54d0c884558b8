"""Learning curves out of metrics.jsonl."""

import json

import pytest

from attention_jax.study.comparison.curves import Curve, drawn, learning_curves, mean_curve, read_metrics
from attention_jax.study.comparison.plan import run_folder


@pytest.fixture
def written(tmp_path, result):
    """Writes the lines of one run and returns the learning curves of that run."""

    def _written(lines, *, metric="test_accuracy"):
        finished = result("linear", 0, 0.5, metric=metric)
        folder = run_folder(tmp_path, finished.trial)
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return learning_curves([finished], tmp_path)

    return _written


def test_lines_with_different_keys_are_read(tmp_path, log):
    log(tmp_path, final=0.5)
    found = read_metrics(tmp_path / "metrics.jsonl")
    assert list(found) == list(range(10, 101, 10))
    assert set(found[10]) == {"train_loss"}
    assert set(found[20]) == {"train_loss", "validation_accuracy"}
    assert found[100]["validation_accuracy"] == 0.5


def test_no_file_is_no_line(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == {}


def test_after_a_kill_the_later_line_counts_and_a_torn_one_is_skipped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 9.0}\n{"step": 3, "lo\n{"step": 2, "loss": 2.0}\n{"st'
    )
    assert read_metrics(path) == {1: {"loss": 3.0}, 2: {"loss": 2.0}}


def test_only_finite_numbers_are_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": NaN, "b": "inf", "c": null, "d": true, "e": Infinity, "f": 1}\n[1]\n{"a": 1}\n')
    assert read_metrics(path) == {1: {"f": 1.0}}


@pytest.mark.parametrize(
    ("score", "logged", "drawn"),
    [
        ("test_accuracy", ("train_loss", "validation_loss", "validation_accuracy"), "validation_accuracy"),
        ("validation_loss", ("train_loss", "validation_loss", "validation_accuracy"), "validation_loss"),
        ("test_perplexity", ("train_loss", "validation_loss", "validation_perplexity"), "validation_perplexity"),
        ("test_perplexity", ("train_loss", "validation_loss"), "validation_loss"),
        ("test_bleu", ("train_loss", "validation_chrf"), "validation_chrf"),
        ("test_accuracy", ("train_loss",), "train_loss"),
        ("test_accuracy", ("learning_rate",), None),
    ],
)
def test_the_metric_drawn_is_the_validation_one_nearest_to_the_score(written, score, logged, drawn):
    curves = written([{"step": step} | dict.fromkeys(logged, 0.5) for step in (1, 2)], metric=score)
    assert curves.metric == drawn
    assert [run.points for run in curves.runs] == ([] if drawn is None else [((1, 0.5), (2, 0.5))])


def test_one_evaluation_at_the_end_is_no_curve(written):
    lines = [{"step": step, "train_loss": 1.0 / step} for step in (1, 2)]
    assert written([*lines, {"step": 2, "validation_accuracy": 0.5, "test_accuracy": 0.5}]).metric == "train_loss"


def test_a_long_curve_is_thinned_and_keeps_its_ends(written):
    [run] = written([{"step": step, "train_loss": float(step)} for step in range(10_000)]).runs
    assert 150 < len(run.points) <= 201
    assert (run.points[0], run.points[-1]) == ((0, 0.0), (9999, 9999.0))


def test_runs_without_a_log_have_no_curve(tmp_path, result):
    assert learning_curves([result("linear", 0, 0.5)], tmp_path).runs == ()
    assert learning_curves([], tmp_path).metric is None


def test_the_mean_is_over_the_steps_that_all_seeds_have():
    runs = [Curve("x", 0, ((1, 0.0), (2, 2.0), (3, 4.0))), Curve("x", 1, ((1, 1.0), (3, 6.0), (4, 9.0)))]
    assert mean_curve(runs) == [(1, 0.5), (3, 5.0)]
    assert mean_curve([]) == []


@pytest.mark.parametrize(("points", "most"), [(3, 3), (50, 24), (200, 24), (200, 199), (24, 24), (5, 24)])
def test_a_drawn_curve_has_so_many_points_in_order_with_both_ends(points, most):
    curve = [(10 * step, (step * 7) % 5 / 3) for step in range(points)]
    shown = drawn(curve, most=most)
    assert len(shown) == min(points, most)
    assert [step for step, _ in shown] == sorted({step for step, _ in shown})
    assert (shown[0][0], shown[-1][0]) == (0, 10 * (points - 1))


def test_a_drawn_curve_keeps_its_peak():
    curve = [(step, 1.0 if step == 137 else 0.001 * step / 200) for step in range(200)]
    assert max(value for _, value in drawn(curve, most=24)) == 1.0
    assert drawn([(1, 0.123456789)], most=24) == [(1, 0.12346)]
