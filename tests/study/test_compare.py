"""Comparing: what runs, what is kept, what a kill costs."""

import ast
import json
import math
from pathlib import Path

import pytest

import attention_jax.study
from attention_jax.base.errors import Refused
from attention_jax.study.compare import compare
from attention_jax.study.plan import Plan, Trial, run_folder
from attention_jax.study.results import read_results
from attention_jax.training.outcome import RunFailed

FIRST = Trial("listops", "scaled_dot", 0)
MIDDLE = Trial("listops", "linear", 1)


@pytest.fixture
def run(plan, study, tmp_path):
    """Compares, and returns the results after checking that the file holds the same."""

    def _run(another: Plan | None = None):
        results = compare(another or plan, study.build, tmp_path, announce=study.announce)
        on_disk = read_results(tmp_path / "results.jsonl")
        assert [on_disk[entry.trial] for entry in results] == results
        return results

    return _run


def test_every_trial_runs_once_in_the_order_of_the_plan(run, plan, study):
    results = run()
    assert [entry.trial for entry in results] == study.trained == list(plan.trials())
    assert {entry.status for entry in results} == {"done"}
    assert results[4].score == pytest.approx(0.71)
    assert (results[4].metric, results[4].steps, results[4].parameters) == ("test_accuracy", 100, 1_234_567)
    assert (results[4].train_seconds, results[4].ms_per_step, results[4].peak_bytes) == (12.5, 20.0, 3 * 2**20)


def test_seeds_share_one_cell_and_each_has_its_folder(run, plan, study, tmp_path):
    run()
    assert study.built == [(benchmark, variant) for benchmark in plan.benchmarks for variant in plan.variants]
    assert study.folders == [run_folder(tmp_path, trial) for trial in plan.trials()]
    assert len(set(study.folders)) == 18


def test_a_second_start_runs_nothing(run, study):
    first = run()
    study.built.clear()
    study.trained.clear()
    assert run() == first
    assert study.built == study.trained == []
    assert any("keeping 18 of 18 results" in line for line in study.lines)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(1), RuntimeError("a bug"), MemoryError()])
def test_what_is_not_the_variants_fault_stops_the_comparison_and_costs_one_trial(run, plan, study, tmp_path, stop):
    study.train_errors[MIDDLE] = stop
    with pytest.raises(type(stop)):
        run()
    before = list(plan.trials())[:4]
    assert list(read_results(tmp_path / "results.jsonl")) == before
    study.train_errors.clear()
    study.trained.clear()
    run()
    assert study.trained == list(plan.trials())[4:]


def test_a_torn_last_line_runs_again_and_only_it(run, plan, study, tmp_path):
    run()
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    study.trained.clear()
    run()
    assert study.trained == list(plan.trials())[-1:]
    assert path.read_bytes() == whole


def test_a_missing_line_runs_again_and_goes_to_its_place(run, study, tmp_path):
    run()
    path = tmp_path / "results.jsonl"
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    path.write_text("".join(lines[:4] + lines[5:]))
    study.trained.clear()
    run()
    assert study.trained == [MIDDLE]
    assert path.read_text() == whole


def test_a_failed_run_is_recorded_and_does_not_stop_the_others(run, plan, study):
    study.train_errors[MIDDLE] = RunFailed("the loss is nan at step 40")
    results = {entry.trial: entry for entry in run()}
    assert study.trained == list(plan.trials())
    assert (results[MIDDLE].status, results[MIDDLE].reason) == ("failed", "the loss is nan at step 40")
    assert results[MIDDLE].score is None
    assert sum(entry.status == "done" for entry in results.values()) == 17


def test_a_failed_run_is_tried_again_and_its_line_replaced(run, study, tmp_path):
    study.train_errors[MIDDLE] = RunFailed("nan")
    run()
    study.train_errors.clear()
    study.trained.clear()
    run()
    assert study.trained == [MIDDLE]
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert len(lines) == 18
    assert [line["status"] for line in lines] == ["done"] * 18


def test_a_failed_line_stays_until_its_trial_is_done_again(run, study, tmp_path):
    study.train_errors[MIDDLE] = RunFailed("nan")
    run()
    study.train_errors[MIDDLE] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run()
    assert read_results(tmp_path / "results.jsonl")[MIDDLE].reason == "nan"


def test_a_variant_refused_when_built_is_refused_for_each_seed(run, study):
    study.build_errors["linear"] = Refused("linear cannot do it: use scaled_dot.")
    refused = [entry for entry in run() if entry.status != "done"]
    assert [(entry.benchmark, entry.variant, entry.seed) for entry in refused] == [
        (benchmark, "linear", seed) for benchmark in ("listops", "copy") for seed in (0, 1, 2)
    ]
    assert {(entry.status, entry.reason) for entry in refused} == {("refused", "linear cannot do it: use scaled_dot.")}
    assert not any(trial.variant == "linear" for trial in study.trained)


def test_a_trial_refused_in_training_is_refused(run, study):
    study.train_errors[MIDDLE] = Refused("batch_size 7 does not divide")
    results = {entry.trial: entry for entry in run()}
    assert (results[MIDDLE].status, results[MIDDLE].reason) == ("refused", "batch_size 7 does not divide")


def test_refused_trials_are_kept(run, study):
    study.build_errors["linear"] = Refused("no")
    first = run()
    study.build_errors.clear()
    study.built.clear()
    assert run() == first
    assert study.built == []


@pytest.mark.parametrize("field", ["score", "ms_per_step", "train_seconds"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_run_that_ends_with_no_finite_number_has_failed(run, study, field, value):
    healthy = study.outcome
    study.outcome = lambda trial: (
        healthy(trial).__class__(**{**vars(healthy(trial)), field: value}) if trial == FIRST else healthy(trial)
    )
    results = {entry.trial: entry for entry in run()}
    assert (results[FIRST].status, results[FIRST].reason) == ("failed", f"the run ended with {field} = {value}")
    assert results[MIDDLE].status == "done"


def test_a_larger_plan_runs_only_what_is_new_and_a_smaller_one_keeps_the_rest(run, study, tmp_path):
    small = Plan(benchmarks=("listops",), variants=("scaled_dot",), seeds=(0, 1))
    run(small)
    study.trained.clear()
    assert len(run()) == 18
    assert len(study.trained) == 16
    study.trained.clear()
    assert [entry.trial for entry in run(small)] == list(small.trials())
    assert study.trained == []
    assert len(read_results(tmp_path / "results.jsonl")) == 18
    assert any("leaving 16 results" in line for line in study.lines)


def test_a_trial_of_a_smaller_plan_leaves_the_lines_of_the_others(run, plan, study, tmp_path):
    study.train_errors[FIRST] = RunFailed("nan")
    run()
    study.train_errors.clear()
    run(Plan(benchmarks=("listops",), variants=("scaled_dot",), seeds=(0,)))
    on_disk = read_results(tmp_path / "results.jsonl")
    assert set(on_disk) == set(plan.trials())
    assert on_disk[FIRST].status == "done"


def test_progress_names_the_trial_its_place_its_score_and_the_time_left(run, study):
    study.train_errors[MIDDLE] = RunFailed("nan")
    run()
    assert study.lines[0] == "[1/18] listops / scaled_dot / seed 0: training"
    assert study.lines[1].startswith("[1/18] listops / scaled_dot / seed 0: test_accuracy 0.8 in 0s, about 0s left")
    assert "[5/18] listops / linear / seed 1: failed: nan" in study.lines
    assert study.lines[-1].startswith("[18/18] copy / performer:features=64 / seed 2: test_accuracy 0.77 in")
    assert "left" not in study.lines[-1]


@pytest.mark.parametrize("module", ["compare", "curves", "overview", "plan", "report", "results", "summary", "tables"])
def test_comparing_knows_of_training_only_what_a_run_leaves_behind(module):
    tree = ast.parse((Path(attention_jax.study.__path__[0]) / f"{module}.py").read_text())
    imported = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    rooms = {name for name in imported if name.startswith("attention_jax") and ".study." not in name}
    helpers = {"attention_jax.training.progress", "attention_jax.training.workdir"}
    rooms -= {name for name in rooms if name.startswith("attention_jax.base.")}
    assert rooms <= {"attention_jax.training.outcome", *helpers}
