"""Baselines without a network beside a comparison, on the splits that its runs are trained and scored on.

They are kept in `baselines.json` in the folder of the study, and the reports say how far each variant is from them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attention_jax import tasks
from attention_jax.study.linear import linear_baselines
from attention_jax.study.ngrams import ngram_baselines
from attention_jax.study.numbers import number
from attention_jax.study.summary import Summary
from attention_jax.training.workdir import usable, write_atomically

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
        there = _read(workdir)
        for name, sections in benchmarks.items():
            of = {key: sections[key] for key in ("data", "task")}
            if there.get(name, {}).get("of") != _as_json(of):
                there[name] = {"of": _as_json(of), "baselines": _baselines(of["data"], of["task"])}
        write_atomically(workdir / _FILE, json.dumps(there, indent=2) + "\n")


def baseline_lines(summary: Summary, workdir: Path) -> list[str]:
    """Returns lines on the baselines of a benchmark and how far each variant is from them; none if none were measured.

    Args:
      summary: of the benchmark.
      workdir: of the study.
    """
    baselines = _read(workdir).get(summary.benchmark, {}).get("baselines", [])
    if not baselines or summary.metric is None:
        return []
    said = ", ".join(f"{one['name']} {number(one['score'])}" for one in baselines)
    lines = [f"Baselines on {summary.benchmark}, {summary.metric}: {said}."]
    for row in summary.scored:
        assert row.score is not None
        apart = (_apart(row.score.mean, one, rising=bool(summary.higher_is_better)) for one in baselines)
        lines.append(f"{row.variant} is {', '.join(apart)}.")
    return lines


def _baselines(data: Mapping[str, Any], task: Mapping[str, Any]) -> list[dict[str, Any]]:
    metric = tasks.build(task["name"], **{key: value for key, value in task.items() if key != "name"}).metric
    if task["name"] == "classification":
        return linear_baselines(data, metric=metric)
    return ngram_baselines(data, metric=metric)


def _apart(score: float, baseline: Mapping[str, Any], *, rising: bool) -> str:
    difference = (score - baseline["score"]) * (1 if rising else -1)
    if difference == 0:
        return f"equal to {baseline['short']}"
    return f"{number(abs(difference))} {'better' if difference > 0 else 'worse'} than {baseline['short']}"


def _read(workdir: Path) -> dict[str, Any]:
    path = workdir / _FILE
    return json.loads(path.read_text()) if path.exists() else {}


def _as_json(value: Any) -> Any:
    """JSON has no tuples."""
    return json.loads(json.dumps(value))
