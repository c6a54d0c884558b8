"""How far the variants of a benchmark are from its baselines, in lines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attention_jax.study.baselines.measure import read_baselines
from attention_jax.study.report.numbers import number
from attention_jax.study.report.summary import Summary


def baseline_lines(summary: Summary, workdir: Path) -> list[str]:
    """Returns lines on the baselines of a benchmark and how far each variant is from them; none if none were measured.

    Args:
      summary: of the benchmark.
      workdir: of the study.
    """
    baselines = read_baselines(workdir).get(summary.benchmark, {}).get("baselines", [])
    if not baselines or summary.metric is None:
        return []
    said = ", ".join(f"{one['name']} {number(one['score'])}" for one in baselines)
    lines = [f"Baselines on {summary.benchmark}, {summary.metric}: {said}."]
    for row in summary.scored:
        assert row.score is not None
        apart = (_apart(row.score.mean, one, rising=bool(summary.higher_is_better)) for one in baselines)
        lines.append(f"{row.variant} is {', '.join(apart)}.")
    return lines


def _apart(score: float, baseline: Mapping[str, Any], *, rising: bool) -> str:
    difference = (score - baseline["score"]) * (1 if rising else -1)
    if difference == 0:
        return f"equal to {baseline['short']}"
    return f"{number(abs(difference))} {'better' if difference > 0 else 'worse'} than {baseline['short']}"
