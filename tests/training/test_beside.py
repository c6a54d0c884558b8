"""Two processes at one run: an evaluation leaves the training alone, a second training is refused."""

import pytest

from attention_jax.base.errors import Refused
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.run.workdir import locked


def folders(tmp_path):
    return sorted(path.name for path in (tmp_path / "checkpoints").iterdir())


def test_opened_to_read_it_leaves_a_checkpoint_that_is_being_written(tmp_path):
    half = tmp_path / "checkpoints" / "4.orbax-checkpoint-tmp"
    half.mkdir(parents=True)
    (tmp_path / "checkpoints" / "3").mkdir()
    before = folders(tmp_path)
    checkpoints = Checkpoints(tmp_path, keep=2, say=print, read_only=True)
    assert checkpoints.steps() == []
    checkpoints.close()
    assert folders(tmp_path) == before


def test_a_run_that_is_being_trained_is_refused_to_another_and_free_afterwards(tmp_path):
    with locked(tmp_path), pytest.raises(Refused, match="in use by another training process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        assert (tmp_path / ".lock").exists()
