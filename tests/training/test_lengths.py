"""A run over batches of several lengths: it trains on each, and goes on exactly where it was stopped."""

from pathlib import Path

import numpy as np
import pytest

from attention_jax.data import train_batches
from attention_jax.training import Experiment, Interrupted
from tests.training import tiny
from tests.training.disturbance import Killed, at_batch, final_state, kill, terminate

BUCKETS = (4, 8)


@pytest.fixture(scope="module")
def bucketed(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Documents of 2 to 9 letters, each the alphabet from some letter on."""
    rng, letters = np.random.default_rng(0), "abcdefgh" * 3
    starts, lengths = rng.integers(8, size=120), rng.integers(2, 10, size=120)
    path = tmp_path_factory.mktemp("documents") / "documents.txt"
    path.write_text("#".join(letters[start : start + length] for start, length in zip(starts, lengths, strict=True)))
    data = {"name": "text_documents", "path": str(path), "context": 8, "separator": "#", "buckets": BUCKETS}
    return Experiment(**tiny.sections(data=data, model={"attention": "scaled_dot"}))


@pytest.fixture(scope="module")
def whole(bucketed: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("whole")
    tiny.run(bucketed, workdir)
    return workdir


def lengths_of_batches(experiment: Experiment) -> list[int]:
    batches = train_batches(experiment.dataset.splits["train"], batch_size=8, seed=0)
    return [next(batches)["inputs"].shape[1] for _ in range(24)]


def test_every_length_is_trained_by_a_step_of_its_own(bucketed, whole):
    assert [batch["inputs"].shape for batch in bucketed.abstract_batches] == [(8, length) for length in BUCKETS]
    losses = [line["train_loss"] for line in tiny.lines(whole) if "train_loss" in line]
    assert sum(losses[-4:]) < 0.75 * sum(losses[:4])
    assert set(lengths_of_batches(bucketed)) == {*BUCKETS}


def test_its_work_is_that_of_the_lengths_that_came(bucketed, tmp_path):
    outcome, _ = tiny.run(bucketed, tmp_path)
    work = {batch["inputs"].shape[1]: bucketed.flops_of(batch).count for batch in bucketed.abstract_batches}
    assert work[8] > 2 * work[4]
    assert outcome.flops_per_step == sum(work[length] for length in lengths_of_batches(bucketed)) / 24


@pytest.mark.parametrize(("step", "action", "stop"), [(9, terminate, Interrupted), (17, kill, Killed)])
def test_a_run_that_was_stopped_leaves_the_same_bytes(bucketed, whole, tmp_path, step, action, stop):
    with at_batch(step, action), pytest.raises(stop):
        tiny.run(bucketed, tmp_path)
    tiny.run(bucketed, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert final_state(bucketed, tmp_path) == final_state(bucketed, whole)
