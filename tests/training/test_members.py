"""Members: each leaves what it leaves alone but for rounding, whatever becomes of the others."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from attention_jax.base.errors import Refused
from attention_jax.training import Experiment, Interrupted, Outcome, Progress, RunFailed
from attention_jax.training.given import given
from attention_jax.training.members import check_members, train_members
from tests.training import tiny

RUNS = [(seed, rate) for seed in (0, 1) for rate in (0.03, 0.003)]


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return Experiment(**tiny.sections(mesh={"data": 1}, ema_decay=0.9))


class Heard(Progress):
    """A progress that ends the process's training by a signal at a step."""

    def __init__(self, step: int = -1):
        super().__init__(stream=open(os.devnull, "w"))  # noqa: SIM115
        self._at = step

    def alive(self, step: int) -> None:
        if step == self._at:
            self._at = -1
            signal.raise_signal(signal.SIGTERM)


def together(
    experiment: Experiment, folder: Path, runs: list[tuple[int, float]] = RUNS, *, stop: int = -1
) -> list[Any]:
    """Trains members in folders of their own, stopped by a signal at a step."""
    members = [
        given(experiment, folder / str(place), seed=seed, learning_rate=rate, progress=Heard(stop if not place else -1))
        for place, (seed, rate) in enumerate(runs)
    ]
    return train_members(experiment, members)


@pytest.fixture(scope="module")
def alone(experiment, tmp_path_factory) -> Path:
    """The same runs, each trained alone."""
    folder = tmp_path_factory.mktemp("alone")
    for place, (seed, rate) in enumerate(RUNS):
        tiny.run(experiment, folder / str(place), seed=seed, learning_rate=rate)
    return folder


def assert_near(one: Path, other: Path) -> None:
    """Checks that two folders hold the same run but for rounding."""
    assert (one / "config.json").read_bytes() == (other / "config.json").read_bytes()
    for line, expected in zip(tiny.lines(one), tiny.lines(other), strict=True):
        assert line == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_members_leave_what_each_leaves_alone(experiment, alone, tmp_path):
    outcomes = together(experiment, tmp_path)
    for place, outcome in enumerate(outcomes):
        assert_near(tmp_path / str(place), alone / str(place))
        told = json.loads((alone / str(place) / "outcome.json").read_text())
        assert outcome.score == pytest.approx(told["score"], rel=1e-4)
        assert (outcome.steps, outcome.parameters) == (told["steps"], told["parameters"])
        assert json.loads((tmp_path / str(place) / "outcome.json").read_text())["score"] == outcome.score
    assert len({outcome.score for outcome in outcomes}) > 1


def test_a_member_that_fails_stops_no_other(experiment, alone, tmp_path):
    outcomes = together(experiment, tmp_path, [*RUNS[:2], (0, 1e30)])
    assert [type(outcome) for outcome in outcomes] == [Outcome, Outcome, RunFailed]
    with pytest.raises(RunFailed) as failed:
        tiny.run(experiment, tmp_path / "alone", seed=0, learning_rate=1e30)
    assert str(outcomes[2]) == str(failed.value)
    assert tiny.lines(tmp_path / "2")[-1]["step"] == tiny.lines(tmp_path / "alone")[-1]["step"]
    assert not (tmp_path / "2" / "outcome.json").exists()
    for place in (0, 1):
        assert_near(tmp_path / str(place), alone / str(place))


def test_members_go_on_from_their_checkpoints_together_or_alone(experiment, alone, tmp_path):
    with pytest.raises(Interrupted):
        together(experiment, tmp_path, stop=13)
    # One of them went on alone, so that it is at another step than the others.
    tiny.run(experiment, tmp_path / "3", seed=RUNS[3][0], learning_rate=RUNS[3][1])
    outcomes = together(experiment, tmp_path)
    assert all(isinstance(outcome, Outcome) for outcome in outcomes)
    for place in range(len(RUNS)):
        assert_near(tmp_path / str(place), alone / str(place))


def test_a_folder_of_another_run_is_refused_to_its_member_alone(experiment, tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "config.json").write_text("{}")
    refused, outcome = together(experiment, tmp_path, RUNS[:2])
    assert isinstance(refused, Refused)
    assert isinstance(outcome, Outcome)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"evaluation": {"patience": 2}}, "evaluation.patience ends each run at a step of its own"),
        ({"checkpoint": {"best": True}}, "checkpoint.best scores each run by a state of its own"),
    ],
)
def test_what_members_cannot_do_is_refused(experiment, tmp_path, changes, said):
    with pytest.raises(Refused, match=rf"^members take each step together, and {said}: use --members=1\.$"):
        together(tiny.variant(experiment, **changes), tmp_path)
    assert not list(tmp_path.iterdir())
    check_members(experiment)
