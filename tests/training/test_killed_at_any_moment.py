"""One run that has everything a state can lose, killed between any two of the things it does."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
import pytest

from attention_jax.data import Batches
from attention_jax.training import Experiment
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.run.workdir import MetricsLog
from tests.training import tiny
from tests.training.disturbance import Killed, as_bytes, final_state

STEPS = 12
# Documents of 8 to 16 characters, several to a row; the epoch turns within the third batch.
TEXT = "\n\n".join("abcdefghijklmnop"[: 8 + number % 9] for number in range(31))
# What the run does in turn: whose attribute does it, and which times the run is killed at, one process after the other.
MOMENTS: dict[str, tuple[Any, str, tuple[int, ...]]] = {
    "takes a batch": (Batches, "__next__", (9, 3, 6)),
    "writes a line": (MetricsLog, "write", (4, 3)),
    "evaluates a batch": (Experiment, "evaluate_batch", (2, 5)),
    "saves": (Checkpoints, "save", (3, 2)),
    "has half a checkpoint": (ocp.CompositeCheckpointHandler, "finalize", (3, 2)),
    "has one without a manifest": (Checkpoints, "_seal", (3, 2)),
    "has one checkpoint too many": (Checkpoints, "_remove", (2, 2)),
}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Packed documents, accumulation, dropouts, an average, frozen parameters, Lion, skipped steps, the best kept."""
    path = tmp_path_factory.mktemp("text") / "documents.txt"
    path.write_text(TEXT)
    experiment = Experiment(
        data={"name": "text_documents", "path": str(path), "context": 24, "validation_fraction": 0.3},
        task={"name": "token_prediction"},
        model={
            "name": "gpt",
            "num_layers": 2,
            "num_heads": 2,
            "width": 8,
            "init_stddev": 0.3,
            "dropout_rate": 0.1,
            "attention_dropout_rate": 0.2,
        },
        optimizer={"name": "lion", "learning_rate": 0.003, "freeze": ("block_0/.*",)},
        batch_size=4,
        accumulation=2,
        steps=STEPS,
        ema_decay=0.9,
        evaluation={"every": 5, "batch_size": 2},
        checkpoint={"every": 3, "keep": 1, "best": True},
        log={"every": 2, "tensorboard": False},
        instability={"action": "skip"},
    )
    # One row's loss is infinite, so that one step of each epoch is passed over.
    source = experiment.dataset.splits["train"]
    gather = source.gather

    def with_an_infinite_row(indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = gather(indices)
        return {**batch, "weights": np.where((indices == 0)[:, None], np.inf, batch["weights"]).astype(np.float32)}

    source.gather = with_an_infinite_row
    return experiment


@pytest.fixture
def killed_at(everything, monkeypatch) -> Callable[[Callable[[str, int], bool]], Counter[str]]:
    """`killed_at(condition)` ends a run before it does something for the n-th time, where condition(what, n)."""

    def patch(condition: Callable[[str, int], bool]) -> Counter[str]:
        passed: Counter[str] = Counter()

        def before(owner: Any, attribute: str, what: str) -> None:
            original = getattr(owner, attribute)

            def wrapped(*arguments: Any, **options: Any) -> Any:
                passed[what] += 1
                if condition(what, passed[what]):
                    raise Killed
                return original(*arguments, **options)

            monkeypatch.setattr(owner, attribute, wrapped)

        monkeypatch.undo()
        for what, (owner, attribute, _) in MOMENTS.items():
            # The compiled evaluation is the instance's own.
            before(everything if owner is Experiment else owner, attribute, what)
        return passed

    return patch


def end_of(experiment: Experiment, workdir: Path) -> tuple[bytes, dict[str, bytes]]:
    """Returns the bytes of a run's losses, and of each array of its last state."""
    return (workdir / "metrics.jsonl").read_bytes(), final_state(experiment, workdir)


@pytest.fixture(scope="module")
def whole(everything, tmp_path_factory) -> tuple[bytes, dict[str, bytes]]:
    workdir = tmp_path_factory.mktemp("whole")
    tiny.run(everything, workdir)
    return end_of(everything, workdir)


def test_the_run_has_what_a_state_can_lose(everything, whole):
    _, end = whole
    start = as_bytes(everything.create_state(0))
    assert 1 <= int.from_bytes(end[".skipped"], "little") <= STEPS // 2
    changed = {name for name in start if start[name] != end[name]}
    params = {name for name in start if name.startswith(".params")}
    frozen = {name for name in params if "block_0" in name}
    assert frozen
    assert params - changed == frozen
    assert any(end[name] != end[name.replace(".params", ".average")] for name in params - frozen)
    assert any(name.startswith(".opt_state") for name in changed)
    rows = len(everything.dataset.splits["train"])
    assert everything.batch_size < rows < STEPS * everything.batch_size // 2
    assert rows % everything.batch_size


@pytest.mark.parametrize("what", MOMENTS)
def test_killed_before_it(everything, whole, killed_at, tmp_path, what):
    for count in MOMENTS[what][2]:
        killed_at(lambda moment, passed, count=count: moment == what and passed == count)
        with pytest.raises(Killed):
            tiny.run(everything, tmp_path)
    killed_at(lambda moment, passed: False)
    tiny.run(everything, tmp_path)
    assert end_of(everything, tmp_path) == whole


@pytest.mark.long
def test_killed_at_every_moment_in_turn(everything, whole, killed_at, tmp_path):
    """Each in a run of its own that then goes on to the end. Two minutes on 2 busy cores."""
    passed = killed_at(lambda moment, count: False)
    tiny.run(everything, tmp_path / "counted")
    moments = [(what, number) for what, total in passed.items() for number in range(1, total + 1)]
    assert {what for what, _ in moments} == set(MOMENTS)
    for what, number in moments:
        workdir = tmp_path / f"{what} {number}"
        killed_at(lambda moment, count, at=(what, number): (moment, count) == at)
        with pytest.raises(Killed):
            tiny.run(everything, workdir)
        killed_at(lambda moment, count: False)
        tiny.run(everything, workdir)
        assert end_of(everything, workdir) == whole, (what, number)
