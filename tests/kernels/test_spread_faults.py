"""What was wrong on one device once is right on two, four and eight, by every method of spreading tokens."""

import subprocess
import sys

import pytest

from tests.launch.command_line import ROOT


@pytest.mark.parametrize(
    "devices", [pytest.param(2, marks=pytest.mark.long), pytest.param(4, marks=pytest.mark.long), 8]
)
def test_hidden_pairs_narrow_values_positions_and_ids_and_long_vectors(devices):
    command = [sys.executable, "-m", "tests.kernels.spread_faults", str(devices)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "equal\n"
