"""The smallest run that has everything: buffers, dropout, evaluations, checkpoints, a test split."""

import copy
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from attention_jax.training import Experiment, Outcome, Progress, train

SECTIONS: dict[str, Any] = {
    "data": {
        "name": "mqar",
        "vocabulary_size": 16,
        "length": 8,
        "pairs": 1,
        "train_examples": 40,
        "validation_examples": 10,
        "test_examples": 6,
    },
    "task": {"name": "token_prediction"},
    "model": {
        "name": "gpt",
        "attention": "performer:features=4",
        "num_layers": 1,
        "num_heads": 2,
        "width": 8,
        "init_stddev": 0.3,
        "dropout_rate": 0.1,
    },
    "optimizer": {"name": "adamw", "learning_rate": 0.03},
    "batch_size": 8,
    "steps": 24,
    "evaluation": {"every": 8, "batch_size": 4},
    "checkpoint": {"every": 6, "keep": 2},
    "log": {"every": 2, "tensorboard": False},
}


def sections(**changes: Any) -> dict[str, Any]:
    """Returns the arguments of the tiny `Experiment`; a change of a section is laid over it, unless it has a name."""
    changed = dict(SECTIONS)
    for name, value in changes.items():
        merged = isinstance(value, dict) and "name" not in value
        changed[name] = {**SECTIONS.get(name, {}), **value} if merged else value
    return changed


def variant(experiment: Experiment, **changes: Any) -> Experiment:
    """Returns an experiment with changes to sections that its compiled step does not depend on, which it shares."""
    _ = experiment.compiled_step
    changed = copy.copy(experiment)
    changed.config = {**experiment.config}
    for name, change in changes.items():
        changed.config[name] = {**(experiment.config[name] or {}), **change}
        setattr(changed, name, replace(getattr(experiment, name), **change))
    return changed


def run(experiment: Experiment, workdir: Path, **options: Any) -> tuple[Outcome, str]:
    """Trains, and returns the outcome and what was said."""
    stream = io.StringIO()
    outcome = train(experiment, workdir, progress=Progress(stream=stream), **options)
    return outcome, stream.getvalue()


def lines(workdir: Path) -> list[dict[str, Any]]:
    """Returns the lines of a run's metrics."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
