"""Learning curves of finished runs, read from the metrics.jsonl that training writes."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attention_jax.study.comparison.plan import run_folder
from attention_jax.study.comparison.results import Result

Log = dict[int, dict[str, float]]  # of one run: step -> {metric: value}

_MOST_POINTS = 200  # of one curve: what a chart of a few hundred pixels can show


@dataclass(frozen=True)
class Curve:
    """One run: the value of a metric at increasing steps, as (step, value)."""

    variant: str
    seed: int
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Curves:
    """The runs of one benchmark that logged `metric`; `metric` is None when none logged any."""

    metric: str | None
    runs: tuple[Curve, ...]


def learning_curves(results: Sequence[Result], workdir: Path) -> Curves:
    """Returns the learning curves of the `done` results of one benchmark.

    The metric is the validation one nearest to the score (for "test_accuracy", "validation_accuracy"), another
    validation metric where there is none, and the training loss where nothing was evaluated on the way: one point is
    no curve. Only points that are finite numbers are kept; the curves are thinned, all alike, to a few hundred points.
    """
    logs = {
        result.trial: read_metrics(run_folder(workdir, result.trial, result.point) / "metrics.jsonl")
        for result in results
    }
    metric = _nearest(str(results[0].metric), logs.values()) if results else None
    if metric is None:
        return Curves(None, ())
    curves = {
        trial: [(step, values[metric]) for step, values in sorted(log.items()) if metric in values]
        for trial, log in logs.items()
    }
    stride = max(1, math.ceil(max(map(len, curves.values())) / _MOST_POINTS))
    runs = [
        Curve(trial.variant, trial.seed, tuple(points[:-1:stride] + points[-1:]))
        for trial, points in curves.items()
        if points
    ]
    return Curves(metric, tuple(runs))


def read_metrics(path: Path) -> Log:
    """Returns step -> {name: value} of a metrics.jsonl; a missing file holds nothing.

    A run that was killed and resumed repeats steps: the later line is the one that its weights come from, so it wins.
    For the same reason a line that is not JSON is skipped: the kill cut it short, and its step was logged again.
    Values that are not finite numbers are left out.
    """
    steps: Log = {}
    if not path.exists():
        return steps
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            values = {key: float(value) for key, value in record.items() if key != "step" and _is_finite(value)}
            steps.setdefault(record["step"], {}).update(values)
    return steps


def mean_curve(runs: Sequence[Curve]) -> list[tuple[int, float]]:
    """Returns the mean over `runs` at the steps that all of them have: the mean of fewer would jump."""
    if not runs:
        return []
    values = [dict(run.points) for run in runs]
    shared = sorted(set.intersection(*(set(points) for points in values)))
    return [(step, sum(points[step] for points in values) / len(values)) for step in shared]


def drawn(points: Sequence[tuple[int, float]], *, most: int) -> list[tuple[int, float]]:
    """Returns the points that a chart shows of a curve: at most `most`, so chosen that its shape stays, in five digits.

    The first and the last stay; between them each of equal stretches keeps the point that spans the largest triangle
    with the one kept before it and the mean of the stretch after it, so that peaks stay: Steinarsson 2013,
    Downsampling Time Series for Visual Representation, section 4.2.
    """
    kept = list(points) if len(points) <= most else _largest_triangles(points, most)
    return [(step, float(f"{value:.5g}")) for step, value in kept]


def _largest_triangles(points: Sequence[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    width = (len(points) - 2) / (most - 2)
    edges = [1 + round(width * place) for place in range(most - 1)] + [len(points)]
    kept = [points[0]]
    for start, end, after in zip(edges, edges[1:], edges[2:], strict=False):
        following = points[end:after]
        step, value = (sum(numbers) / len(following) for numbers in zip(*following, strict=True))
        (left, low) = kept[-1]
        kept.append(
            max(points[start:end], key=lambda p: abs((left - step) * (p[1] - low) - (left - p[0]) * (value - low)))
        )
    return [*kept, points[-1]]


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _nearest(score: str, logs: Iterable[Log]) -> str | None:
    """Returns the metric to draw, of those that some run logged more than once."""
    counts = [Counter(name for values in log.values() for name in values) for log in logs]
    drawable = {name for count in counts for name, times in count.items() if times > 1}
    preferred = (score, f"validation_{score.removeprefix('test_')}", "validation_accuracy", "validation_loss")
    others = sorted(name for name in drawable if name.startswith("validation_"))
    return next((name for name in (*preferred, *others, "train_loss") if name in drawable), None)
