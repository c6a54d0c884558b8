"""A comparison whose variants are tuned, with a stand-in for training: what runs, what is reported, what runs again."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.comparison.plan import Plan, Trial, run_folder
from attention_jax.study.comparison.results import Result, read_results
from attention_jax.study.comparison.source import Comparison
from attention_jax.study.comparison.tuned_source import TunedComparison
from attention_jax.study.comparison.tuning import LEARNING_RATE, search_seed
from attention_jax.study.engine.cells import Cell
from attention_jax.study.engine.cells import Result as CellResult
from attention_jax.study.engine.run import run_cells
from tests.study.tuned import config_of, make_plan, make_tuning, train

GRID = (1e-3, 1e-2)


def compare(folder: Path, *rates: float | str, plan: Plan | None = None, **options: Any) -> list[Result]:
    """Compares with a grid of learning rates, and returns what is reported."""
    plan = plan or make_plan()
    source = TunedComparison(plan, make_tuning(plan, *rates), config_of, folder)
    run_cells(source, folder, **{"workers": 0, "had": source.had, "announce": lambda line: None, **options})
    return source.in_order()


def trained(folder: Path) -> Counter[str]:
    """Returns how often each cell was trained, by its folder."""
    logs = folder.rglob("trained.txt")
    return Counter({str(log.parent.relative_to(folder / "runs")): len(log.read_text().splitlines()) for log in logs})


def rates(results: list[Result]) -> dict[tuple[str, str], set[float]]:
    """Returns the learning rates that each pair is reported with."""
    found: dict[tuple[str, str], set[float]] = {}
    for line in results:
        assert line.point is not None
        found.setdefault((line.benchmark, line.variant), set()).add(line.point[LEARNING_RATE])
    return found


def trials(folder: Path) -> list[dict[str, Any]]:
    """Returns the lines of tuning.jsonl."""
    return [json.loads(line) for line in (folder / "tuning.jsonl").read_text().splitlines()]


def test_each_variant_is_trained_at_its_best_rate_on_the_seeds_and_these_runs_alone_are_reported(tmp_path):
    plan = make_plan()
    results = compare(tmp_path, *GRID)
    assert [line.trial for line in results] == list(plan.trials())
    assert rates(results) == {
        (benchmark, variant): {rate} for benchmark in plan.benchmarks for variant, rate in
        (("scaled_dot", 1e-2), ("linear", 1e-3))
    }  # fmt: skip
    assert [line.score for line in results] == [1.0, 1.01, 1.02] * 4
    assert set(trained(tmp_path).values()) == {1}
    assert len(trained(tmp_path)) == 4 * (2 + 3)
    assert all((run_folder(tmp_path, line.trial, line.point) / "trained.txt").exists() for line in results)
    assert list(read_results(tmp_path / "results.jsonl")) == list(plan.trials())


def test_every_trial_is_a_line_on_a_seed_that_is_not_reported(tmp_path):
    compare(tmp_path, *GRID)
    lines = trials(tmp_path)
    assert [(line["benchmark"], line["variant"], line["point"][LEARNING_RATE]) for line in lines] == [
        (benchmark, variant, rate)
        for benchmark in ("listops", "copy") for variant in ("scaled_dot", "linear") for rate in GRID
    ]  # fmt: skip
    assert {line["seed"] for line in lines} == {search_seed(0)}
    assert search_seed(0) not in make_plan().seeds
    assert [line["chosen"] for line in lines] == [False, True, True, False] * 2
    assert all((tmp_path / line["log"]).exists() for line in lines)


def test_the_cells_of_a_search_are_not_scored_on_the_test_split_and_the_final_ones_are(tmp_path):
    plan = make_plan()
    source = TunedComparison(plan, make_tuning(plan, *GRID), config_of, tmp_path)
    cells = []
    while (cell := source.ask()) is not None:
        cells.append(cell)
        source.tell(cell, done(cell, tmp_path))
    assert source.exhausted
    assert {cell.tested for cell in cells if cell.config["seed"] == search_seed(0)} == {False}
    assert {cell.tested for cell in cells if cell.config["seed"] in plan.seeds} == {True}
    assert len({cell.identity for cell in cells}) == len(cells) == 20


def done(cell: Cell, folder: Path) -> CellResult:
    return CellResult("done", None, train(cell.config, cell.folder(folder), None), {"log": f"{cell.name}/log.txt"})


def test_the_first_trial_of_every_pair_comes_before_the_second_of_any(tmp_path):
    plan = make_plan()
    source = TunedComparison(plan, make_tuning(plan, *GRID), config_of, tmp_path)
    asked = [source.ask() for _ in range(8)]
    pairs = [(cell.labels["benchmark"], cell.labels["variant"]) for cell in asked if cell is not None]
    assert len({*pairs[:4]}) == len({*pairs[4:]}) == 4
    assert source.ask() is None
    assert not source.exhausted


def test_workers_leave_the_same_files_as_one_process(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    compare(one, *GRID)
    compare(two, *GRID, workers=2)
    # All but who was beside.
    for name in ("results.jsonl", "tuning.jsonl"):
        assert (one / name).read_text() == (two / name).read_text().replace('"beside": 1', '"beside": 0')


@pytest.mark.parametrize("sampler", ["tpe", "random", "quasi_random"])
def test_whatever_ends_first_and_however_often_it_is_killed_the_trials_are_the_same(tmp_path, sampler):
    plan = make_plan(seeds=(0,))
    tuning = make_tuning(plan, trials=14, sampler=sampler)
    told = []
    for place in range(3):
        drawn, known = random.Random(place), {}
        for calls in (9, 23, 1000) if place else (1000,):
            source = TunedComparison(plan, tuning, config_of, tmp_path / str(place))
            (tmp_path / str(place)).mkdir(exist_ok=True)
            source.had()
            in_disorder(source, tmp_path / str(place), drawn, known, calls=calls)
        assert source.exhausted
        assert set(trained(tmp_path / str(place)).values()) == {1}
        told.append((source.tuned(), source.in_order()))
    assert told[0] == told[1] == told[2]
    assert [len(one.tried) for one in told[0][0]] == [14] * 4
    assert len({trial.point[LEARNING_RATE] for trial in told[0][0][0].tried}) == 14


def in_disorder(source: TunedComparison, folder: Path, drawn: random.Random, known: dict, *, calls: int) -> None:
    """Trains up to three cells at once that end in any order, until it is killed; results outlive it."""
    open_cells: list[Cell] = []
    for _ in range(calls):
        while len(open_cells) < 3 and (cell := source.ask()) is not None:
            if cell.identity in known:
                source.tell(cell, known[cell.identity])
            else:
                open_cells.append(cell)
        if not open_cells:
            return
        cell = open_cells.pop(drawn.randrange(len(open_cells)))
        known[cell.identity] = done(cell, folder)
        source.tell(cell, known[cell.identity])


def test_one_trial_of_a_guided_search_is_out_at_a_time(tmp_path):
    plan = make_plan()
    source = TunedComparison(plan, make_tuning(plan, trials=5, sampler="tpe"), config_of, tmp_path)
    asked = [source.ask() for _ in range(5)]
    assert [cell is None for cell in asked] == [False] * 4 + [True]


def test_the_same_command_again_trains_nothing_and_leaves_the_same_files(tmp_path):
    first = compare(tmp_path, *GRID)
    before = {name: (tmp_path / name).read_bytes() for name in ("results.jsonl", "tuning.jsonl")}
    ran = trained(tmp_path)
    assert compare(tmp_path, *GRID) == first
    assert trained(tmp_path) == ran
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_more_seeds_and_more_variants_train_what_is_new(tmp_path):
    compare(tmp_path, *GRID, plan=make_plan(seeds=(0, 1)))
    before = trained(tmp_path)
    compare(tmp_path, *GRID, plan=make_plan(seeds=(0, 1, 2)))
    more = trained(tmp_path) - before
    assert {name.split("/")[-1] for name in more} == {"2"}
    assert len(more) == 4
    before = trained(tmp_path)
    compare(tmp_path, *GRID, plan=make_plan(variants=("scaled_dot", "linear", "uniform")))
    assert {name.split("/")[1] for name in trained(tmp_path) - before} == {"uniform"}
    compare(tmp_path, *GRID, plan=make_plan())
    assert {line["variant"] for line in trials(tmp_path)} == {"scaled_dot", "linear", "uniform"}


def test_a_wider_grid_that_changes_the_best_replaces_the_lines_of_the_old_one_and_trains_what_is_new(tmp_path):
    narrow = compare(tmp_path, 1e-3)
    assert {next(iter(found)) for found in rates(narrow).values()} == {1e-3}
    before = trained(tmp_path)
    wide = compare(tmp_path, *GRID)
    assert rates(wide)["listops", "scaled_dot"] == {1e-2}
    assert [line for line in wide if line.variant == "linear"] == [line for line in narrow if line.variant == "linear"]
    # A trial of each pair, and the seeds of those whose best has changed.
    assert len(trained(tmp_path) - before) == 4 + 2 * 3
    assert set(trained(tmp_path).values()) == {1}
    before = trained(tmp_path)
    assert compare(tmp_path, 1e-3) == narrow
    assert trained(tmp_path) == before


def test_lines_of_another_point_are_not_reported(tmp_path):
    compare(tmp_path, 1e-3)
    plan = make_plan()
    source = TunedComparison(plan, make_tuning(plan, *GRID), config_of, tmp_path)
    source.had()
    assert source.in_order() == []
    untuned = Comparison(plan, config_of, tmp_path)
    assert untuned.had() == {}
    assert untuned.in_order() == []


def test_results_of_a_tuned_comparison_are_no_results_of_one_that_is_not_and_the_other_way_round(tmp_path):
    tuned = compare(tmp_path, *GRID)
    plain = Comparison(make_plan(), config_of, tmp_path)
    run_cells(plain, tmp_path, workers=0, had=plain.had, announce=lambda line: None)
    assert {line.point for line in plain.in_order()} == {None}
    assert min(line.score or 0 for line in plain.in_order()) > 1.9
    assert compare(tmp_path, *GRID) == tuned


def test_lines_outlive_the_store(tmp_path):
    first = compare(tmp_path, *GRID)
    (tmp_path / "study.db").unlink()
    assert compare(tmp_path, *GRID) == first
    again = {name for name, times in trained(tmp_path).items() if times > 1}
    assert {name.split("/")[2] for name in again} == {"search"}


def test_a_trial_that_diverges_or_cannot_be_is_a_row_of_the_search(tmp_path):
    results = compare(tmp_path, 1e-3, 2.0, "refused")
    assert {line.status for line in results} == {"done"}
    assert [(line["status"], line["score"] is None) for line in trials(tmp_path)[:3]] == [
        ("done", False),
        ("failed", True),
        ("refused", True),
    ]
    assert trials(tmp_path)[1]["reason"] == "ValueError: the loss is nan"


def test_a_variant_none_of_whose_trials_ends_has_the_reason_for_every_seed(tmp_path):
    plan = make_plan(variants=("scaled_dot", "uniform"))
    results = {line.trial: line for line in compare(tmp_path, *GRID, plan=plan)}
    assert results[Trial("listops", "uniform", 2)].status == "done"
    refused = results[Trial("copy", "uniform", 2)]
    assert (refused.status, refused.reason) == ("refused", "uniform cannot do this: use another.")
    failed = compare(tmp_path / "failed", 2.0, 3.0, plan=plan)
    assert {line.reason for line in failed} == {
        "none of the 2 trials of its tuning ran to its end; the first: ValueError: the loss is nan"
    }
    plain = Comparison(plan, config_of, tmp_path / "failed")
    assert plain.had() == {}


def test_failed_trials_run_again_when_asked_to(tmp_path, monkeypatch):
    compare(tmp_path, 1e-3, 2.0)
    monkeypatch.setattr("tests.study.tuned.DIVERGES_FROM", 100.0)
    assert compare(tmp_path, 1e-3, 2.0, retry="failed")
    assert {line["status"] for line in trials(tmp_path)} == {"done"}


def test_two_benchmarks_that_differ_in_what_is_tuned_alone_are_refused(tmp_path):
    plan = make_plan()

    def same(benchmark: str, label: str, seed: int, point: Any = None) -> dict[str, Any]:
        rate = {LEARNING_RATE: 1.0 if benchmark == "copy" else 2.0}
        return config_of("listops", label, seed, point or rate)

    with pytest.raises(Refused, match="'copy / scaled_dot' and 'listops / scaled_dot', which are one"):
        TunedComparison(plan, make_tuning(plan, *GRID), same, tmp_path)
