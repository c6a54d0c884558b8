"""Every model trains on eight devices as it does on one: its rows, its parameters and its heads spread over them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from attention_jax import models

ROOT = Path(__file__).parents[3]
# It has all that a model may have: two stacks, a memory, a shared table.
DEFAULT = "transformer"


# Layers that read those below them.
DEPTH = {"value_residual": "per_token", "residual": "attention_over_depth", "norm_position": "pre"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(
            pytest.param(name, {}, marks=[] if name == DEFAULT else [pytest.mark.long], id=name)
            for name in models.models.names()
        ),
        pytest.param("transformer", DEPTH, marks=pytest.mark.long, id="transformer over depth"),
        pytest.param("gpt", {**DEPTH, "scan_layers": True}, marks=pytest.mark.long, id="gpt over depth, scanned"),
    ],
)
def test_the_losses_on_eight_devices_are_those_on_one(name, options):
    process = subprocess.run(
        [sys.executable, "-m", "tests.training.parallel.sharded_models", name, json.dumps(options)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout.splitlines()[-1])
    one = found.pop("one")
    assert one["losses"][-1] < one["losses"][0]
    assert one["collectives"] == []
    for mesh, given in found.items():
        assert given["losses"] == pytest.approx(one["losses"], rel=1e-5), mesh
    # Rows and heads need sums alone; whoever splits parameters gathers them.
    assert found["data"]["collectives"] == ["all-reduce"]
    assert "all-gather" not in found["tensor"]["collectives"]
    assert "all-gather" in found["fsdp"]["collectives"]
