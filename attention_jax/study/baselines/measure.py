"""Baselines without a network beside a comparison, on the splits that its runs are trained and scored on.

They are kept in `baselines.json` in the folder of the study, and the reports say how far each variant is from them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attention_jax import tasks
from attention_jax.study.baselines.linear import linear_baselines
from attention_jax.study.baselines.ngrams import ngram_baselines
from attention_jax.training.run.workdir import usable, write_atomically

_FILE = "baselines.json"


def measure_baselines(benchmarks: Mapping[str, Mapping[str, Any]], workdir: Path) -> None:
    """Writes the scores of the baselines of each benchmark, but of those that the folder has.

    Args:
      benchmarks: by name, the config of each.
      workdir: of the study.

    Raises:
      Refused: the folder cannot be read or written.
    """
    with usable(workdir):
        there = read_baselines(workdir)
        for name, sections in benchmarks.items():
            of = {key: sections[key] for key in ("data", "task")}
            if there.get(name, {}).get("of") != _as_json(of):
                there[name] = {"of": _as_json(of), "baselines": _baselines(of["data"], of["task"])}
        write_atomically(workdir / _FILE, json.dumps(there, indent=2) + "\n")


def _baselines(data: Mapping[str, Any], task: Mapping[str, Any]) -> list[dict[str, Any]]:
    metric = tasks.build(task["name"], **{key: value for key, value in task.items() if key != "name"}).metric
    if task["name"] == "classification":
        return linear_baselines(data, metric=metric)
    return ngram_baselines(data, metric=metric)


def read_baselines(workdir: Path) -> dict[str, Any]:
    """Returns what `measure_baselines` wrote: by benchmark, what they are of and the `baselines`; nothing without."""
    path = workdir / _FILE
    return json.loads(path.read_text()) if path.exists() else {}


def _as_json(value: Any) -> Any:
    """JSON has no tuples."""
    return json.loads(json.dumps(value))
