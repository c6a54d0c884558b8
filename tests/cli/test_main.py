"""A command line is run in a process that was made ready for it."""

import os

import pytest

from attention_jax.cli.main import main


@pytest.mark.parametrize(("workers", "level"), [("0", "3"), ("1", None)])
def test_a_process_that_trains_cells_itself_keeps_what_jaxlib_says_on_loading_them(workers, level, monkeypatch, capsys):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "of this process")  # so that it comes back
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    assert main(["reproduce", f"--workers={workers}", "no_such_row"]) == 2
    assert "no_such_row" in capsys.readouterr().err
    assert os.environ.get("TF_CPP_MIN_LOG_LEVEL") == level
