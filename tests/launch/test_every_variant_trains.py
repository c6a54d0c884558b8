"""Every variant makes its first steps by the documented command, as a user's program is compiled, on 2 CPU devices."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from attention_jax.contract.cases import SPECS, one_of_each_rule
from attention_jax.kernels import lookup
from tests.launch.command_line import ROOT, read_jsonl
from tests.missing import missing

pytestmark = pytest.mark.wide

STEPS = 6
# Compiling takes most of it. A step that never returns is stopped by it.
LIMIT_SECONDS = 300
# The real batch of the real data; the overrides make it short.
SHORT = (f"--config.steps={STEPS}", "--config.optimizer.schedule.warmup_steps=2", "--config.log.every=1")
CAUSAL = ("--config=experiments/shakespeare_gpt.py", *SHORT)
ONE_DIMENSION = ",dimensions=1"
OTHERS = ("--config=experiments/fashion_vit.py", "--config.epochs=0", *SHORT)


def cases() -> Iterator[object]:
    """Yields every variant, with options that suit few tokens, the first of each kind marked for CI."""
    standing = one_of_each_rule(SPECS)
    for spec in SPECS:
        yield pytest.param(spec, marks=[pytest.mark.one_of_each_engine] if spec in standing else [])


@pytest.fixture(scope="module")
def sets() -> str:
    """The folder of prepared data sets; where there is none the tests are skipped, and in CI they fail."""
    folder = os.environ.get("ATTENTION_JAX_TFDS")
    if folder is None or not Path(folder).is_dir():
        missing("set ATTENTION_JAX_TFDS to a folder of prepared TFDS sets (tiny_shakespeare, fashion_mnist)")
    return folder


def use_two_cores() -> None:
    """Makes this process one of a machine with two cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="it needs a machine of two cores")
@pytest.mark.parametrize("spec", list(cases()))
def test_it_takes_its_first_steps(sets: str, tmp_path: Path, spec: str) -> None:
    words = CAUSAL if lookup(spec).claims.causal == "strict" else OTHERS
    if spec.endswith(ONE_DIMENSION):
        spec, words = spec.removesuffix(ONE_DIMENSION), (*OTHERS, "--config.model.pooling=mean")
    try:
        ran = subprocess.run(
            [sys.executable, "launch.py", "train", *words, f"--config.model.attention={spec}", f"--workdir={tmp_path}"],
            cwd=ROOT,
            env={**os.environ, "TFDS_DATA_DIR": sets, "XLA_FLAGS": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
            preexec_fn=use_two_cores,
        )
    except subprocess.TimeoutExpired as expired:
        said = (expired.stderr or b"").decode()
        pytest.fail(f"{spec} did not take {STEPS} steps in {LIMIT_SECONDS} s; it said: {said}")
    assert ran.returncode == 0, ran.stderr
    assert "split over 2 of 2 cpu devices" in ran.stderr
    losses = [line["train_loss"] for line in read_jsonl(tmp_path / "metrics.jsonl") if "train_loss" in line]
    assert len(losses) == STEPS
    # Numbers: one that is not finite is a word there.
    assert all(isinstance(loss, float) for loss in losses), losses
