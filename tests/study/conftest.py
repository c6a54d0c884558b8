"""A comparison without training: results, and the folder that their runs would leave behind."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attention_jax.study.comparison.plan import Plan, Trial
from attention_jax.study.comparison.results import OF_OUTCOME, Result, unfinished
from attention_jax.training.run.outcome import Outcome

SCORES = {"scaled_dot": 0.80, "linear": 0.70, "performer:features=64": 0.75}


def make_outcome(*, score: float, metric: str = "test_accuracy", **changed: Any) -> Outcome:
    """Returns the outcome of a run of 100 steps."""
    fields = {
        "score_step": 100,
        "steps": 100,
        "skipped": 0,
        "parameters": 1_234_567,
        "train_seconds": 12.5,
        "compile_seconds": 3.0,
        "ms_per_step": 20.0,
        "ms_per_step_spread": 0.5,
        "examples_per_second": 400.0,
        "tokens_per_second": None,
        "flops_per_step": 1e9,
        "flops_complete": True,
        "mfu": None,
        "input_share": 0.01,
        "peak_bytes": 3 * 2**20,
        "decode_bytes": None,
    }
    return Outcome(metric=metric, score=score, **(fields | changed))


def make_result(
    variant: str, seed: int, score: float, *, benchmark: str = "listops", metric: str = "test_accuracy", **changed: Any
) -> Result:
    """Returns the result of a finished run."""
    outcome = make_outcome(score=score, metric=metric, **changed)
    values = {name: getattr(outcome, name) for name in OF_OUTCOME}
    return Result(benchmark=benchmark, variant=variant, seed=seed, **values, status="done", reason=None)


def write_log(folder: Path, *, final: float, metric: str = "validation_accuracy", steps: int = 100) -> None:
    """Writes a metrics.jsonl like training's: a training line every 10 steps, a validation line every 20."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(10, steps + 1, 10):
            file.write(json.dumps({"step": step, "train_loss": math.exp(-step / 50)}) + "\n")
            if step % 20 == 0:
                file.write(json.dumps({"step": step, metric: final * step / steps}) + "\n")


@pytest.fixture(scope="session")
def plan() -> Plan:
    """Two benchmarks, three variants, three seeds."""
    return Plan(benchmarks=("listops", "copy"), variants=tuple(SCORES), seeds=(0, 1, 2))


@pytest.fixture
def result() -> Callable[..., Result]:
    """`make_result`, for the tests that need single results."""
    return make_result


@pytest.fixture
def log() -> Callable[..., None]:
    """`write_log`, for the tests that need a run's folder."""
    return write_log


@pytest.fixture(scope="session")
def mixed(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Result], Path]:
    """Results of every kind with their folders: linear is refused on copy, performer fails once on listops."""
    results = []
    workdir = tmp_path_factory.mktemp("mixed")
    for trial in plan.trials():
        if (trial.benchmark, trial.variant) == ("copy", "linear"):
            results.append(unfinished(trial, status="refused", reason="linear <cannot> copy | use [scaled_dot]"))
        elif trial == Trial("listops", "performer:features=64", 1):
            results.append(unfinished(trial, status="failed", reason="the loss is nan\nat step 40"))
        else:
            spread = 0.08 if trial.variant == "performer:features=64" else 0.01
            score = SCORES[trial.variant] + spread * (trial.seed - 1)
            results.append(make_result(trial.variant, trial.seed, score, benchmark=trial.benchmark))
            folder = workdir / "runs" / trial.benchmark / trial.variant.replace(":", "%3A") / str(trial.seed)
            write_log(folder, final=score)
    return results, workdir
