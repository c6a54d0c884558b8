"""The search of a sweep: what is asked, what is told, what a kill and an extension leave of it."""

import ast
import json
import math
import random
import tempfile
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from attention_jax.base.errors import Refused
from attention_jax.study.engine.cells import Cell
from attention_jax.study.search.samplers import make_sampler
from attention_jax.study.search.space import chain, product, zip_
from attention_jax.study.sweep import end as sweep_end
from attention_jax.study.sweep.plan import result_of
from attention_jax.study.sweep.report import importances, write_report
from attention_jax.study.sweep.source import put_back
from attention_jax.training import config
from tests.study.sweep_cases import SPACE, Executor, Killed, killed_often, loss, make_sweep, rows, values

SHARED_MEMORY = Path("/dev/shm")
RATE = "optimizer.learning_rate"
HALVING = "successive_halving:reduction=2"


@pytest.fixture
def tmp_path(tmp_path):
    """In memory where that is a folder: most of the time of a trial here is the disk's, for its many transactions."""
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.mark.parametrize("sampler", ["tpe", "random", "quasi_random"])
def test_a_sampler_repeats_itself_with_its_seed_and_not_with_another(sampler, tmp_path):
    found = {}
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        (tmp_path / name).mkdir()
        sweep = make_sweep(sampler=sampler, seed=seed, trials=11, best=0)
        found[name] = rows(Executor(tmp_path / name).run(sweep))
    assert found["one"] == found["same"] != found["other"]
    assert {len(found["one"])} == {11}


def test_quasi_random_fills_the_space(tmp_path):
    space = "optimizer.learning_rate=uniform(0,1) model.num_layers=int(1,4) model.attention=[linear,uniform]"
    source = Executor(tmp_path, value=lambda config: 1.0).run(
        make_sweep(space, sampler="quasi_random", trials=16, best=0)
    )
    rates = sorted(values(source.study, RATE))
    assert all(place / 16 <= rate <= (place + 1) / 16 for place, rate in enumerate(rates))
    assert [values(source.study, "model.num_layers").count(layers) for layers in (1, 2, 3, 4)] == [4] * 4
    assert values(source.study, "model.attention").count("linear") == 8


def test_tpe_finds_what_chance_does_not():
    def value(trial):
        rate, layers = trial.suggest_float("rate", 1e-4, 1e-1, log=True), trial.suggest_int("layers", 1, 4)
        return loss({"optimizer": {"learning_rate": rate}, "model": {"num_layers": layers}, "seed": 0})

    best = {}
    for sampler in ("tpe", "random"):
        studies = [optuna.create_study(sampler=make_sampler(sampler, seed=seed)) for seed in range(8)]
        for study in studies:
            study.optimize(value, n_trials=30)
        best[sampler] = sum(study.best_value for study in studies)
    assert best["tpe"] < 0.7 * best["random"]


def test_a_grid_has_each_point_once_whatever_is_killed(tmp_path):
    sweep = make_sweep("optimizer.learning_rate=[1e-3,1e-2,1e-1] model.num_layers=int(1,3)", sampler="grid", best=2)
    assert sweep.trials == 9
    for executor in killed_often(tmp_path / "killed", sweep, every=23):
        last = executor
    source = last.source(sweep)
    points = [tuple(trial.params.values()) for trial in source.study.trials]
    assert len(points) == 9
    assert len(set(points)) == 9
    assert {trial.state for trial in source.study.trials} == {TrialState.COMPLETE}


def test_lists_that_zip_and_chain_are_a_grid(tmp_path):
    space = chain(zip_({RATE: [1e-3, 1e-2], "model.num_layers": [1, 2]}), product({"model.width": [32]}))
    source = Executor(tmp_path).run(make_sweep(space, sampler="grid", best=1))
    assert [trial.params for trial in source.study.trials] == [
        {RATE: 1e-3, "model.num_layers": 1},
        {RATE: 1e-2, "model.num_layers": 2},
        {"model.width": 32},
    ]


@pytest.mark.parametrize(
    ("sampler", "pruner"),
    [
        ("tpe", HALVING),
        ("grid", "none"),
        pytest.param("quasi_random", "median:trials=2", marks=pytest.mark.long),
        pytest.param("tpe", "median:trials=2", marks=pytest.mark.long),
        pytest.param("grid", HALVING, marks=pytest.mark.long),
        pytest.param("random", HALVING, marks=pytest.mark.long),
    ],
)
def test_a_sweep_that_is_killed_at_any_call_ends_as_one_that_is_not(sampler, pruner, tmp_path):
    space = "optimizer.learning_rate=[1e-4,1e-3,1e-2,1e-1] model.num_layers=[1,2,3]" if sampler == "grid" else SPACE
    sweep = make_sweep(space, sampler=sampler, pruner=pruner, trials=12, best=2, fresh_seeds=1)
    (tmp_path / "whole").mkdir()
    whole = Executor(tmp_path / "whole").run(sweep)
    for number, every in enumerate((7, 10)):
        supervisors = list(killed_often(tmp_path / str(number), sweep, every=every))
        assert len(supervisors) > 3
        source = supervisors[-1].source(sweep)
        assert rows(source) == rows(whole)
        finished = [name for supervisor in supervisors for name in supervisor.trained]
        assert len(set(finished)) == len({*supervisors[-1].results})
    if pruner == HALVING:
        assert any(trial.state == TrialState.PRUNED for trial in whole.study.trials)


def test_a_trial_that_was_open_is_the_same_cell_again(tmp_path):
    sweep = make_sweep(trials=4, best=0)
    first = Executor(tmp_path).source(sweep).ask()
    again = Executor(tmp_path).source(sweep).ask()
    assert first == again
    assert (first.name, first.identity) == (again.name, again.identity)


def test_more_trials_are_an_extension(tmp_path):
    executor = Executor(tmp_path)
    executor.run(make_sweep(trials=4, best=1, fresh_seeds=2))
    before = list(executor.trained)
    source = executor.run(make_sweep(trials=7, best=1, fresh_seeds=2))
    assert len(source.study.trials) == 7
    assert executor.trained[: len(before)] == before
    assert len(set(executor.trained)) == len(executor.trained)
    assert "going on with the 4 trials" in executor.lines[-5] or any("4 trials" in line for line in executor.lines)


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_more_values_of_a_list_are_an_extension(sampler, tmp_path):
    executor = Executor(tmp_path)
    settings = {"sampler": sampler, "best": 1, "fresh_seeds": 1}
    first = executor.run(make_sweep("model.num_layers=[1,2] model.width=[16]", trials=2, **settings))
    before = rows(first)
    source = executor.run(make_sweep("model.num_layers=[1,2,3] model.width=[16,32]", trials=6, **settings))
    assert rows(source)[:2] == before
    assert len(source.study.trials) == 6
    assert optuna.get_all_study_names(source.study._storage) == ["sweep (2)"]
    if sampler == "grid":
        assert len({tuple(trial.params.items()) for trial in source.study.trials}) == 6
    again = executor.run(make_sweep("model.num_layers=[1,2,3,4] model.width=[16,32]", trials=7, **settings))
    assert optuna.get_all_study_names(again.study._storage) == ["sweep (3)"]


@pytest.mark.parametrize(
    ("space", "settings", "said"),
    [
        (
            "optimizer.learning_rate=log(1e-5,1e-1) model.num_layers=int(1,4)",
            {},
            "'log(0.0001,0.1)' there and 'log(1e-05",
        ),
        ("optimizer.learning_rate=log(1e-4,1e-1)", {}, "space.model.num_layers is only there"),
        (SPACE, {"sampler": "random"}, "sampler is 'tpe' there and 'random' here"),
        (SPACE, {"pruner": "median"}, "pruner is 'none' there"),
        (SPACE, {"seed": 1}, "sampler seed is 0 there and 1 here"),
        (SPACE, {"config": {"steps": 41}}, "config.steps is 40 there and 41 here"),
    ],
)
def test_another_search_in_the_same_folder_is_refused_and_named(space, settings, said, tmp_path):
    executor = Executor(tmp_path)
    before = rows(executor.run(make_sweep(trials=2, best=0)))
    with pytest.raises(Refused) as refusal:
        executor.source(make_sweep(space, **settings))
    assert "the study 'sweep' in sqlite:///" in str(refusal.value)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert rows(executor.source(make_sweep(trials=2, best=0))) == before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"trials": 0}, "trials=0: give a whole number of at least 1"),
        ({"best": -1}, "best=-1"),
        ({"seed": -1}, "seed"),
        ({"trials": 1.5}, "takes int"),
        ({"sampler": "tpee"}, "Did you mean 'tpe'?"),
        ({"pruner": "medain"}, "Did you mean 'median'?"),
        ({"pruner": "median:trails=3"}, "Did you mean 'trials'?"),
        ({"pruner": "successive_halving:reduction=1"}, "at least 2"),
        ({"pruner": "median", "config": {"evaluation": {"every": 0}}}, "evaluation.every=0"),
        ({"sampler": "grid"}, "is no list, which a grid needs"),
        ({"space": product({"model.width": [16]})}, "give --sampler=grid"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(Refused) as refusal:
        make_sweep(**settings)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    "url", ["nosuch://x", "sqlite:////proc/nowhere/study.db", "postgresql+psycopg://localhost:1/x"]
)
def test_a_storage_that_does_not_answer_is_refused_in_a_line(url):
    from attention_jax.study.sweep.store import open_study

    with pytest.raises(Refused) as refusal:
        open_study(url, "sweep", make_sweep())
    assert "storage" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_a_trial_cannot_be_is_a_row(tmp_path):
    space = "optimizer.learning_rate=[1e-3,1e-2] model.num_heads=[1,3]"
    executor = Executor(tmp_path, statuses=lambda cell: "refused" if cell.config["model"]["num_heads"] == 3 else "done")
    source = executor.run(make_sweep(space, sampler="grid", best=1, fresh_seeds=1))
    assert [result_of(trial)["status"] for trial in source.study.trials] == ["done", "refused", "done", "refused"]
    assert source.study.trials[1].user_attrs["result"]["reason"] == "for a reason"
    assert not source.study.trials[1].values


def test_a_config_that_cannot_be_built_is_a_row_too(tmp_path):
    # The momentum that the file gives is no option of the other optimizer.
    space = "optimizer.name=[adamw,sgd]"
    config = {"optimizer": {"name": "adamw", "b1": 0.8, "learning_rate": 1e-3}}
    executor = Executor(tmp_path, value=lambda config: 1.0)
    source = executor.run(make_sweep(space, config=config, sampler="grid", best=0))
    assert [result_of(trial)["status"] for trial in source.study.trials] == ["done", "refused"]
    assert "has no key 'b1'" in source.study.trials[1].user_attrs["result"]["reason"]
    assert any("trial 1: refused" in line for line in executor.lines)


def test_a_value_that_is_no_number_is_a_failed_row(tmp_path):
    executor = Executor(tmp_path, value=lambda config: math.nan if config["model"]["num_layers"] == 1 else 1.0)
    source = executor.run(make_sweep("model.num_layers=[1,2]", sampler="grid", best=1, fresh_seeds=1))
    assert [result_of(trial)["status"] for trial in source.study.trials] == ["failed", "done"]
    assert [trial.number for trial in source.finalists()] == [1]


def test_all_failed_ends_without_a_best(tmp_path):
    source = Executor(tmp_path, statuses=lambda cell: "failed").run(make_sweep(trials=3))
    end = sweep_end.found(source)
    assert end.best is None
    assert sweep_end.write_best(source, end, tmp_path, command="x") is None
    write_report(source.study, source.sweep, end, tmp_path, command="x")
    assert "No trial ran to its end" in (tmp_path / "report.md").read_text()


def test_failed_trials_run_again_in_their_folder_when_asked(tmp_path):
    sweep = make_sweep(trials=3, best=0)
    executor = Executor(tmp_path, statuses=lambda cell: "failed" if cell.name == "trial-0001" else "done")
    source = executor.run(sweep)
    put_back(source.study, status="failed", say=executor.lines.append)
    again = Executor(tmp_path)
    source = again.run(sweep)
    assert again.trained == ["trial-0001"]
    assert [trial.state.name for trial in source.study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert source.study.trials[3].params == source.study.trials[1].params
    put_back(source.study, status="failed", say=executor.lines.append)
    assert len(source.study.trials) == 4


def test_a_point_that_comes_twice_is_trained_once(tmp_path):
    executor = Executor(tmp_path)
    source = executor.run(make_sweep("model.num_layers=[1,2]", sampler="random", trials=9, best=1, fresh_seeds=1))
    assert len(source.study.trials) == 9
    assert {trial.state for trial in source.study.trials} == {TrialState.COMPLETE}
    assert len([name for name in executor.trained if name.startswith("trial")]) == 2
    assert sum("same_as" in trial.user_attrs for trial in source.study.trials) == 7


def test_a_point_that_comes_while_it_is_trained_waits_for_it(tmp_path):
    executor = Executor(tmp_path)
    source = executor.source(make_sweep("model.num_layers=[1,2]", sampler="random", trials=6, best=0))
    cells: list[Cell] = []
    while (cell := source.ask()) is not None:
        cells.append(cell)
    assert len(cells) == 2
    assert not source.exhausted
    for cell in cells:
        source.tell(cell, executor._train(source, cell))
    assert source.exhausted
    assert {trial.state for trial in source.study.trials} == {TrialState.COMPLETE}


def test_options_of_a_variant_are_searched_where_it_is_chosen(tmp_path):
    space = "model.attention=[linear,performer:features=int(8,64)]"

    def value(config):
        name, _, features = config["model"]["attention"].partition(":features=")
        return 1.0 if name == "linear" else int(features) / 64

    source = Executor(tmp_path, value=value).run(make_sweep(space, trials=20, best=1, fresh_seeds=1))
    for trial in source.study.trials:
        chosen = trial.params["model.attention"].startswith("performer")
        assert ("model.attention=performer:features" in trial.params) == chosen
    assert source.point(source.study.best_trial)["model.attention"].startswith("performer:features=")


def test_successive_halving_ends_those_that_are_behind(tmp_path):
    executor = Executor(tmp_path)
    source = executor.run(make_sweep(sampler="random", pruner=HALVING, trials=20, best=0))
    pruned = [trial for trial in source.study.trials if trial.state == TrialState.PRUNED]
    assert 5 <= len(pruned) <= 17
    assert {trial.last_step for trial in pruned} <= {10, 20, 40}
    assert all(trial.user_attrs["pruned_at"] == trial.last_step for trial in pruned)
    whole = Executor(tmp_path / "whole")
    whole.folder.mkdir()
    best = whole.run(make_sweep(sampler="random", trials=20, best=0)).study.best_trial
    assert source.study.best_trial.params == best.params


def test_a_decision_to_prune_outlives_a_kill(tmp_path):
    sweep = make_sweep(sampler="random", pruner=HALVING, trials=6, best=0)
    source = Executor(tmp_path).source(sweep)
    good, bad = source.ask(), source.ask()
    assert good is not None
    assert bad is not None
    assert source.wants(good, 10, 0.1)
    assert not source.wants(bad, 10, 0.9)
    later = Executor(tmp_path).source(sweep)
    assert [later.ask(), later.ask()] == [good, bad]
    assert later.wants(good, 10, 0.1)
    assert not later.wants(bad, 10, 0.9)


def test_the_best_are_chosen_by_their_mean_over_fresh_seeds(tmp_path):
    # On the seed of the search one layer is the best; on the others three are.
    def value(config):
        lucky = config["seed"] == 0 and config["model"]["num_layers"] == 1
        return 0.0 if lucky else 4.0 - config["model"]["num_layers"] + 0.01 * config["seed"]

    executor = Executor(tmp_path, value=value)
    source = executor.run(make_sweep("model.num_layers=[1,2,3]", sampler="grid", best=3, fresh_seeds=3))
    end = sweep_end.found(source)
    assert source.study.best_trial.params == {"model.num_layers": 1}
    assert end.best is not None
    assert end.best.point == {"model.num_layers": 3}
    assert end.best.mean == pytest.approx(1.02)
    assert [one.trial.number for one in end.finalists] == [2, 1, 0]
    assert len([name for name in executor.trained if name.startswith("best")]) == 9
    assert {seed for one in end.finalists for seed in one.values} == {1, 2, 3}


def test_best_py_is_a_config_that_says_where_it_is_from(tmp_path):
    source = Executor(tmp_path).run(make_sweep(trials=6))
    end = sweep_end.found(source)
    path = sweep_end.write_best(source, end, tmp_path, command="python launch.py sweep ...")
    assert path is not None
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring is not None
    assert f"python launch.py train --config={path}" in docstring
    assert "python launch.py sweep ..." in docstring
    assert f"validation_loss {end.best.mean:.4g}" in docstring
    loaded = config.plain(config.load(str(path)))
    expected = source.sweep.base.config(end.best.point)
    assert loaded == {**expected, "seed": 1, "mesh": {**expected["mesh"], "data": 1}}
    sweep_end.write_best(source, end, tmp_path, command="python launch.py sweep ...", devices=4)
    assert config.plain(config.load(str(path)))["mesh"] == {**expected["mesh"], "data": 4}


def test_the_report_has_every_trial_and_loads_nothing(tmp_path):
    space = SPACE + " model.attention=[linear,performer:features=int(8,64)]"
    executor = Executor(tmp_path, statuses=lambda cell: "failed" if cell.name == "trial-0002" else "done")
    source = executor.run(make_sweep(space, trials=12, pruner=HALVING, best=2))
    end = sweep_end.found(source)
    csv, _, markdown, page = write_report(source.study, source.sweep, end, tmp_path, command="the command")
    assert len(csv.read_text().splitlines()) == 13
    assert "| 2 | failed | - |" in markdown.read_text()
    text = page.read_text()
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert len(data["charts"]) >= 5
    assert "optimizer.learning_rate" in text
    assert "the command" in text
    markup = text.split("<script")[0]
    assert "http" not in markup.split("<body>")[1]


def test_importances_are_of_what_matters(tmp_path):
    space = SPACE + " model.dropout_rate=uniform(0,0.5)"
    source = Executor(tmp_path).run(make_sweep(space, sampler="random", trials=25, best=0))
    shares = importances(source.study)
    assert next(iter(shares)) == RATE
    assert shares[RATE] > 0.7
    (tmp_path / "few").mkdir()
    assert importances(Executor(tmp_path / "few").run(make_sweep(trials=3, best=0)).study) == {}


@pytest.mark.long
def test_a_pruned_sweep_killed_at_random_a_hundred_times_ends_as_one_that_is_not(tmp_path):
    sweep = make_sweep(pruner=HALVING, trials=25, best=3)
    (tmp_path / "whole").mkdir()
    whole = Executor(tmp_path / "whole").run(sweep)
    (tmp_path / "killed").mkdir()
    drawn, results = random.Random(0), {}
    for _ in range(1000):
        executor = Executor(tmp_path / "killed", calls_left=drawn.randint(1, 12), results=results)
        try:
            executor.run(sweep)
        except Killed:
            continue
        break
    assert rows(executor.source(sweep)) == rows(whole)


def test_the_fake_objective_is_what_the_tests_say():
    base = {"model": {"num_layers": 3}, "seed": 0}
    assert loss({**base, "optimizer": {"learning_rate": 0.01}}) == 0.0
