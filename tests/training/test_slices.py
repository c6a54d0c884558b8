"""The slices that a run ends with: in its losses, in its outcome, once, and for the parameters of its score."""

import json

import pytest

from attention_jax.training import Experiment, evaluate_checkpoint
from tests.training import tiny

SLICED = {"task": {"slices": ("distance", "pairs")}, "steps": 8, "data": {"pairs": 2}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An experiment that was trained, its folder and its outcome."""
    experiment = Experiment(**tiny.sections(**SLICED))
    folder = tmp_path_factory.mktemp("sliced")
    return experiment, folder, tiny.train(experiment, folder)


def test_a_run_ends_with_its_score_in_each_slice(run):
    _, folder, outcome = run
    assert list(outcome.slices) == ["distance=2-3", "distance=4-7", "pairs=2"]
    # Every example has two pairs, so that slice is the whole.
    assert outcome.slices["pairs=2"] == pytest.approx(outcome.score, rel=1e-6)
    low, high = sorted((outcome.slices["distance=2-3"], outcome.slices["distance=4-7"]))
    assert low < outcome.score < high
    *_, scored, sliced = tiny.lines(folder)
    assert scored["test_loss"] == outcome.score
    assert sliced == {"step": 8, **{f"test_loss[{label}]": value for label, value in outcome.slices.items()}}
    assert json.loads((folder / "outcome.json").read_text())["slices"] == outcome.slices


def test_a_run_that_has_ended_leaves_the_same_again(run):
    experiment, folder, outcome = run
    before = (folder / "metrics.jsonl").read_bytes()
    assert tiny.train(experiment, folder).slices == outcome.slices
    assert (folder / "metrics.jsonl").read_bytes() == before
    # Killed between its score and its slices.
    (folder / "metrics.jsonl").write_bytes(b"".join(before.splitlines(keepends=True)[:-1]))
    assert tiny.train(experiment, folder).slices == outcome.slices
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_evaluating_it_gives_the_slices_too(run):
    experiment, folder, outcome = run
    _, measures = evaluate_checkpoint(experiment, folder)
    assert {label: measures[f"test_loss[{label}]"] for label in outcome.slices} == outcome.slices
