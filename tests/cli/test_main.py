"""A command line is run in a process that was made ready for it."""

import os

import pytest

from attention_jax.cli import reproduce
from attention_jax.cli.main import main


@pytest.mark.parametrize(("workers", "level"), [("0", "3"), ("1", None)])
def test_a_process_that_trains_cells_itself_keeps_what_jaxlib_says_on_loading_them(workers, level, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "of this process")  # so that it comes back
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    monkeypatch.setattr(reproduce, "run", lambda options, line: 0)
    assert main(["reproduce", f"--workers={workers}"]) == 0
    assert os.environ.get("TF_CPP_MIN_LOG_LEVEL") == level
