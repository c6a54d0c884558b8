"""What a run does by its evaluations: it ends when they get no better, and keeps the best parameters."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from attention_jax.kernels import Refused
from attention_jax.training import Experiment, Interrupted, evaluate_checkpoint
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.evaluations import evaluate
from tests.training import tiny
from tests.training.disturbance import Killed, at_batch, kill, saved, terminate

# The validation loss at each evaluation, by step.
LOSSES = {4: 3.0, 8: 2.0, 12: 2.5, 16: 2.0, 20: 2.1, 24: 2.2}


@contextmanager
def told() -> Iterator[None]:
    """Within it evaluations give these validation losses, and as the test loss 100 and the step of the parameters."""

    def measures(experiment, state, splits, *, notice, alive=None) -> dict[str, float]:
        known = {"validation": LOSSES[int(state.step)], "test": 100.0 + int(state.step), "further": 200.0}
        return {f"{split}_loss": known[split] for split in splits}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attention_jax.training.running.evaluate", measures)
        yield


def files(workdir: Path) -> list[bytes]:
    return [(workdir / name).read_bytes() for name in ("metrics.jsonl", "outcome.json")]


@pytest.fixture(scope="module")
def impatient(experiment: Experiment) -> Experiment:
    return tiny.variant(experiment, evaluation={"every": 4, "patience": 3})


@pytest.fixture(scope="module")
def keeping(experiment: Experiment) -> Experiment:
    return tiny.variant(experiment, evaluation={"every": 4}, checkpoint={"keep": 1, "best": True})


@pytest.fixture(scope="module")
def kept(keeping: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that kept its best."""
    workdir = tmp_path_factory.mktemp("kept")
    with told():
        tiny.run(keeping, workdir)
    return workdir


def test_a_run_ends_when_no_patience_is_left_and_is_then_at_its_end(impatient, tmp_path):
    with told():
        outcome, said = tiny.run(impatient, tmp_path)
    reason = (
        "validation_loss was not better than the 2 of step 8 in 3 evaluations (evaluation.patience): the run ends at"
    )
    assert f"{reason} step 20\n" in said
    assert tiny.lines(tmp_path)[-2:] == [{"step": 20, "validation_loss": 2.1}, {"step": 20, "test_loss": 120.0}]
    assert (outcome.steps, outcome.score, outcome.score_step) == (20, 120.0, 20)
    assert saved(tmp_path) == [18, 20]

    written = files(tmp_path)
    with at_batch(1, kill):
        again, said = tiny.run(impatient, tmp_path)
    assert f"{reason} step 20\n" in said
    assert again == outcome
    assert files(tmp_path) == written


@pytest.mark.parametrize(("target", "steps"), [(2.1, 8), (2.0, 8), (1.99, 24)])
def test_a_run_ends_where_its_target_is_reached(experiment, tmp_path, target, steps):
    aimed = tiny.variant(experiment, evaluation={"every": 4, "target": target})
    with told():
        outcome, said = tiny.run(aimed, tmp_path)
        again, _ = tiny.run(aimed, tmp_path)
    assert (outcome.steps, outcome.score) == (steps, 100.0 + steps)
    assert again == outcome
    assert (f"is 2, as good as evaluation.target={target}: the run ends at step 8\n" in said) == (steps == 8)


def test_enough_patience_lasts_to_the_last_step(experiment, tmp_path):
    with told():
        outcome, said = tiny.run(tiny.variant(experiment, evaluation={"every": 4, "patience": 5}), tmp_path)
    assert outcome.steps == 24
    assert "patience" not in said


# Before a checkpoint; between a checkpoint and the evaluation that ends the run; at that evaluation.
@pytest.mark.parametrize(
    ("step", "action", "stop"), [(10, kill, Killed), (19, terminate, Interrupted), (20, kill, Killed)]
)
def test_a_run_that_was_stopped_ends_where_it_would_have(impatient, tmp_path, step, action, stop):
    with told():
        tiny.run(impatient, tmp_path / "whole")
        with at_batch(step, action), pytest.raises(stop):
            tiny.run(impatient, tmp_path / "stopped")
        outcome, _ = tiny.run(impatient, tmp_path / "stopped")
    assert outcome.steps == 20
    assert files(tmp_path / "stopped")[0] == files(tmp_path / "whole")[0]


def test_the_best_checkpoint_stays_and_its_score_is_that_of_the_run(kept, keeping):
    assert saved(kept) == [8, 24]
    assert tiny.lines(kept)[-2:] == [
        {"step": 24, "validation_loss": 2.2},
        {"step": 24, "best_step": 8, "test_loss": 108.0},
    ]
    with told():
        outcome, _ = tiny.run(keeping, kept)
    assert (outcome.steps, outcome.score, outcome.score_step) == (24, 108.0, 8)


def test_the_best_of_a_run_that_is_not_tested_is_scored_on_the_validation_split(keeping, tmp_path):
    with told():
        outcome, _ = tiny.run(keeping, tmp_path, tested=False)
    lines = tiny.lines(tmp_path)
    assert lines[-1] == {"step": 24, "validation_loss": 2.2}
    (best,) = [line["validation_loss"] for line in lines if line["step"] == 8 and "validation_loss" in line]
    assert (outcome.metric, outcome.score, outcome.score_step) == ("validation_loss", best, 8)


# After the best, before the next checkpoint; when a better one is about to take the place of the first; at the end.
@pytest.mark.parametrize(
    ("step", "action", "stop"), [(9, kill, Killed), (8, terminate, Interrupted), (8, kill, Killed), (24, kill, Killed)]
)
def test_the_best_is_the_same_after_a_stop(kept, keeping, tmp_path, step, action, stop):
    with told():
        with at_batch(step, action), pytest.raises(stop):
            tiny.run(keeping, tmp_path)
        outcome, _ = tiny.run(keeping, tmp_path)
    assert outcome.score_step == 8
    assert files(tmp_path)[0] == files(kept)[0]
    assert saved(tmp_path) == [8, 24]


def test_a_best_checkpoint_that_is_lost_is_said_and_the_best_that_is_there_is_scored(keeping, tmp_path):
    with told():
        with at_batch(24, kill), pytest.raises(Killed):
            tiny.run(keeping, tmp_path)
        shutil.rmtree(tmp_path / "checkpoints" / "8")
        outcome, said = tiny.run(keeping, tmp_path)
    assert "the checkpoint of step 8, the best, is not there: the score is of step 20\n" in said
    assert (outcome.score, outcome.score_step) == (120.0, 20)


def test_the_best_is_evaluated_when_it_is_asked_for(kept, keeping):
    step, measures = evaluate_checkpoint(keeping, kept, checkpoint="best")
    assert step == 8
    checkpoints = Checkpoints(kept, keep=1, say=print, read_only=True)
    restored = checkpoints.restore(keeping.create_state(0), step=8)
    checkpoints.close()
    assert int(restored.state.step) == 8
    assert measures == evaluate(keeping, restored.state, ("validation", "test"))
    assert measures != evaluate_checkpoint(keeping, kept)[1]


def test_without_a_test_split_the_score_is_the_best_on_the_validation_split(keeping, tmp_path):
    splits = {name: split for name, split in keeping.dataset.splits.items() if name != "test"}
    untested = tiny.variant(keeping)
    untested.dataset = type(keeping.dataset)(splits=splits, facts=keeping.dataset.facts)
    with told():
        outcome, _ = tiny.run(untested, tmp_path)
    assert (outcome.metric, outcome.score, outcome.score_step) == ("validation_loss", 2.0, 8)


@pytest.mark.parametrize("with_test", [True, False])
@pytest.mark.parametrize("which", ["keeping", "impatient"])
def test_further_splits_are_scored_where_the_run_ends_by_its_evaluations(which, with_test, tmp_path, request):
    experiment = tiny.variant(request.getfixturevalue(which))
    splits = {name: split for name, split in experiment.dataset.splits.items() if with_test or name != "test"}
    further = {**splits, "further": splits["validation"]}
    experiment.dataset = type(experiment.dataset)(splits=further, facts=experiment.dataset.facts)
    with told():
        outcome, _ = tiny.run(experiment, tmp_path)
        again, _ = tiny.run(experiment, tmp_path)
    best = {"best_step": 8} if which == "keeping" else {}
    of_test = {"test_loss": 100.0 + outcome.score_step} if with_test else {}
    assert tiny.lines(tmp_path)[-1] == {"step": outcome.steps, **best, **of_test, "further_loss": 200.0}
    assert again == outcome
    assert outcome.metric == ("test_loss" if with_test else "validation_loss")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation": {"every": 0, "target": 0.5}}, r"^evaluation\.target=0\.5 compares evaluations, and .*every=0"),
        ({"evaluation": {"every": 0, "patience": 2}}, r"^evaluation\.patience=2 compares evaluations, and .*every=0"),
        ({"evaluation": {"every": 0}, "checkpoint": {"best": True}}, r"^checkpoint\.best=True compares evaluations"),
        ({"evaluation": {"patience": -1}}, r"^evaluation\.patience=-1: give a whole number of at least 0"),
    ],
)
def test_what_compares_evaluations_needs_several(changes, message):
    with pytest.raises(Refused, match=message):
        Experiment(**tiny.sections(**changes))
