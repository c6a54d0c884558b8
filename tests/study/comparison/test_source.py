"""A comparison on the engine, with a stand-in for training: its cells, its lines, and what goes on from older ones."""

import ast
import dataclasses
from pathlib import Path

import pytest

import attention_jax.study
from attention_jax.study.comparison.plan import Plan, Trial, run_folder
from attention_jax.study.comparison.results import Result, read_results, unfinished, write_results
from attention_jax.study.comparison.source import Comparison
from attention_jax.study.engine.run import run_cells
from attention_jax.study.report.provenance import other_devices, other_versions

MIDDLE = Trial("listops", "linear", 1)
BENCHMARKS = {
    name: {"trainer": "tests.study.trivial:train", "model": {"name": "gpt"}, "steps": steps}
    for name, steps in (("listops", 3), ("copy", 4))
}


def config_of(benchmark: str, variant: str, seed: int) -> dict:
    sections = BENCHMARKS[benchmark]
    return {**sections, "model": {**sections["model"], "attention": variant}, "seed": seed}


@pytest.fixture
def run(plan, tmp_path):
    """Compares, and returns the results after checking that the file holds the same."""

    def _run(another: Plan | None = None, **options: object) -> list[Result]:
        source = Comparison(another or plan, config_of, tmp_path)
        quiet = {"workers": 0, "had": source.had, "announce": lambda line: None}
        run_cells(source, tmp_path, **{**quiet, **options})
        results = source.in_order()
        on_disk = read_results(tmp_path / "results.jsonl")
        assert [on_disk[entry.trial] for entry in results] == results
        return results

    return _run


def trained(trials: list[Trial], workdir: Path) -> list[Trial]:
    """Returns those of the trials that left steps, once for each time that they were trained from the start."""
    found = []
    for trial in trials:
        log = run_folder(workdir, trial) / "steps.txt"
        found += [trial] * (log.read_text().splitlines().count("1") if log.exists() else 0)
    return found


def test_every_trial_is_a_cell_with_its_own_config_in_its_own_folder(plan, tmp_path):
    cells = Comparison(plan, config_of, tmp_path).cells
    assert [cell.title for cell in cells] == [str(trial) for trial in plan.trials()]
    assert [cell.folder(tmp_path) for cell in cells] == [run_folder(tmp_path, trial) for trial in plan.trials()]
    assert len({cell.identity for cell in cells}) == 18
    assert len({cell.program for cell in cells}) == 6
    assert cells[4].config == {**BENCHMARKS["listops"], "model": {"name": "gpt", "attention": "linear"}, "seed": 1}


def test_every_trial_runs_once_and_the_lines_come_in_the_order_of_the_plan(run, plan, tmp_path):
    results = run()
    assert [entry.trial for entry in results] == list(plan.trials()) == trained(list(plan.trials()), tmp_path)
    assert list(read_results(tmp_path / "results.jsonl")) == list(plan.trials())
    assert {entry.status for entry in results} == {"done"}
    assert (results[4].metric, results[4].score, results[4].steps) == ("test_loss", 0.25, 3)
    assert results[4].versions is not None
    assert results[4].log == "runs/listops/linear/1/log.txt"


def test_a_second_start_runs_nothing_and_leaves_the_same_file(run, plan, tmp_path):
    first = run()
    before = (tmp_path / "results.jsonl").read_bytes()
    assert run() == first
    assert trained(list(plan.trials()), tmp_path) == list(plan.trials())
    assert (tmp_path / "results.jsonl").read_bytes() == before


def test_a_line_that_was_lost_is_written_again_from_the_store(run, plan, tmp_path):
    run()
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    run()
    assert path.read_bytes() == whole
    assert trained(list(plan.trials()), tmp_path) == list(plan.trials())


def test_a_larger_plan_runs_only_what_is_new_and_a_smaller_one_keeps_the_rest(run, plan, tmp_path):
    small = Plan(benchmarks=("listops",), variants=("scaled_dot",), seeds=(0, 1))
    run(small)
    assert len(run()) == 18
    assert trained(list(plan.trials()), tmp_path) == list(plan.trials())
    assert [entry.trial for entry in run(small)] == list(small.trials())
    assert len(read_results(tmp_path / "results.jsonl")) == 18


def test_results_of_before_there_was_a_store_are_kept(run, plan, tmp_path):
    first = run()
    (tmp_path / "study.db").unlink()
    old = [dataclasses.replace(entry, versions=None, log=None) for entry in first[:4]]
    old.append(unfinished(MIDDLE, status="failed", reason="nan"))
    write_results(tmp_path / "results.jsonl", old)
    results = run()
    assert results[:5] == old
    # Their checkpoints are there, as those of a killed comparison are.
    assert [entry.status for entry in results[5:]] == ["done"] * 13


def test_a_failed_line_is_replaced_when_its_trial_is_run_again(run, plan, tmp_path):
    write_results(tmp_path / "results.jsonl", [unfinished(MIDDLE, status="failed", reason="nan")])
    assert [entry.status for entry in run()].count("failed") == 1
    assert [entry.status for entry in run(retry="failed")] == ["done"] * 18
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 18


def test_results_of_other_versions_are_said(run):
    results = run()
    assert other_versions(results) == []
    old = dataclasses.replace(results[0], versions={**(results[0].versions or {}), "jax": "0.4.0"})
    (line,) = other_versions([old, *results[1:]])
    assert line.startswith(
        "1 of 18 results are of other versions, such as listops / scaled_dot / seed 0: jax 0.4.0, here "
    )


def test_reports_know_of_training_only_what_a_run_leaves_behind():
    files = sorted((Path(attention_jax.study.__path__[0]) / "report").glob("*.py"))
    tree = ast.parse("\n".join(file.read_text() for file in files))
    imported = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    rooms = {name for name in imported if name.startswith("attention_jax") and ".study." not in name}
    left_behind = {f"attention_jax.training.run.{name}" for name in ("outcome", "progress", "workdir")}
    # And of variants what stands around their kernels.
    recipes = {f"attention_jax.kernels.{name}" for name in ("recipe", "registry")}
    assert {name for name in rooms if ".base." not in name} <= left_behind | recipes


def test_results_of_other_numbers_of_devices_are_said(result):
    results = [
        dataclasses.replace(result("linear", seed, 0.5), devices=devices) for seed, devices in enumerate((None, 1, 4))
    ]
    assert other_devices(results[:2], 1) == []
    (said,) = other_devices(results, 4)
    assert said.startswith("1 of 3 results are of 1 devices a run, here 4: ")
