"""The tuning of a comparison in its reports: every trial, the point that was chosen, the window of learning rates."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from attention_jax.study.comparison.tuning import LEARNING_RATE, MARGIN, Tried, Tuned, best
from attention_jax.study.report.charts import Look, spec
from attention_jax.study.report.html_table import plain_table
from attention_jax.study.report.numbers import number
from attention_jax.study.report.page import Figure, Section
from attention_jax.study.report.summary import Summary
from attention_jax.study.report.tables import markdown

# Benchmark and variant -> its keys with the texts of their values.
TunedBefore = Mapping[tuple[str, str], Mapping[str, str]]
_HEIGHT = 260  # pixels
_NOT_TUNED = (
    "settings: no variant was tuned. All were trained with the same settings, those of the config in the command; whom "
    "they suit best is not known."
)


def settings_explanation(
    tuned: Sequence[Tuned], found: Sequence[Summary], before: TunedBefore | None = None
) -> list[str]:
    """Returns how the settings of the runs came about, a line each.

    Args:
      tuned: the search of each variant on each benchmark; none where nothing was tuned.
      found: the results of each benchmark.
      before: what the config says was tuned beforehand, by benchmark and variant.
    """
    own = [
        f"{benchmark}, {variant}: {' '.join(f'{key}={value}' for key, value in keys.items())}"
        for (benchmark, variant), keys in (before or {}).items()
    ]
    if not tuned and own:
        return [f"settings: tuned beforehand, each variant by itself, as the config says: {'; '.join(own)}."]
    if not tuned:
        return [_NOT_TUNED]
    untested = [one.benchmark for one in found if str(one.metric).startswith("validation_")]
    flattered = (
        f"{', '.join(untested)}: there is no test split, and the scores are of the validation split, which also chose "
        "the settings: they flatter."
    )
    return [
        "tuning: every variant got the same trials on every benchmark, on one seed that is not reported. The best by "
        "the validation split, of equal ones the first, was trained on the seeds of the table; no trial was ended "
        "early, and none was scored on a test split.",
        f"learning rates that work: those around the best, without a gap, whose score is within {MARGIN:.0%} of it, of "
        "the range of a measure that has two ends, as an accuracy has, and of the best score of any other. With other "
        "keys tuned beside it a rate has the best score that was seen at it.",
        *([flattered] if untested else []),
    ]


def tuning_json(tuned: Sequence[Tuned]) -> list[dict[str, Any]] | None:
    """Returns each search for report.json; None where nothing was tuned."""
    if not tuned:
        return None
    return [
        {
            "benchmark": one.benchmark,
            "variant": one.variant,
            "chosen": None if one.chosen is None else dict(one.chosen.point),
            "score": None if one.chosen is None else one.chosen.score,
            "metric": None if one.chosen is None else one.chosen.metric,
            "learning_rates": None if one.window is None else dataclasses.asdict(one.window),
            "at_the_edge": one.edges,
            "trials": [dataclasses.asdict(trial) for trial in one.tried],
        }
        for one in tuned
    ]


def tuning_sections(tuned: Sequence[Tuned], look: Look) -> list[Section]:
    """Returns the part of the page, one section a benchmark."""
    benchmarks = list(dict.fromkeys(one.benchmark for one in tuned))
    return [
        _section([one for one in tuned if one.benchmark == benchmark], look, name=f"tuning{place}")
        for place, benchmark in enumerate(benchmarks)
    ]


def tuning_markdown(tuned: Sequence[Tuned]) -> str:
    """Returns the part of report.md, a section a benchmark; nothing where nothing was tuned."""
    texts = []
    for benchmark in dict.fromkeys(one.benchmark for one in tuned):
        mine = [one for one in tuned if one.benchmark == benchmark]
        head, rows = trials_table(mine)
        lines = markdown(head, rows, words=head)
        said = "\n".join(f"- {sentence}" for sentence in sentences(mine))
        texts.append(f"\n## Tuning: {benchmark}\n\n{said}\n\n" + "\n".join(lines) + "\n")
    return "".join(texts)


def sentences(tuned: Sequence[Tuned]) -> list[str]:
    """Returns what the searches of one benchmark found, a sentence or a few for each variant."""
    return [" ".join([_chosen(one), *_window(one), *_edges(one), *_failed(one)]) for one in tuned]


def tuning_lines(tuned: Sequence[Tuned]) -> list[str]:
    """Returns those of every benchmark, each behind its name, for the terminal."""
    benchmarks = dict.fromkeys(one.benchmark for one in tuned)
    return [
        f"tuning on {benchmark}: {sentence}"
        for benchmark in benchmarks
        for sentence in sentences([one for one in tuned if one.benchmark == benchmark])
    ]


def trials_table(tuned: Sequence[Tuned]) -> tuple[list[str], list[list[str]]]:
    """Returns the head and the rows of the table of one benchmark: every trial of every variant."""
    keys = list(dict.fromkeys(key for one in tuned for trial in one.tried for key in trial.point))
    metric = next((str(one.chosen.metric) for one in tuned if one.chosen is not None), "score")
    rows = [
        [
            one.variant,
            *(_shown(trial.point.get(key, "-")) for key in keys),
            "-" if trial.score is None else number(trial.score),
            "chosen" if trial is one.chosen else "" if trial.status == "done" else f"{trial.status}: {trial.reason}",
        ]
        for one in tuned
        for trial in one.tried
    ]
    return ["variant", *keys, metric, "what became of it"], rows


def rates_chart(tuned: Sequence[Tuned], look: Look) -> alt.LayerChart | None:
    """Returns the validation score over the learning rate, a line a variant; None where there is nothing to draw.

    A line goes through the best score of each rate over the other tuned keys. A ring marks the chosen trial, a cross at
    the lower end of the chart a rate at which a trial did not run to its end.
    """
    rows = _rows(tuned)
    done, failed = [row for row in rows if row["score"] is not None], [row for row in rows if row["score"] is None]
    if not done:
        return None
    scale = alt.Scale(type="log", nice=False, padding=16)
    rate = alt.X("rate:Q", title="learning rate, log scale", scale=scale, axis=alt.Axis(tickCount=5, format="~g"))
    metric = next(str(one.chosen.metric) for one in tuned if one.chosen is not None)
    score = alt.Y("score:Q", title=metric, scale=alt.Scale(zero=False, padding=16), axis=alt.Axis(tickCount=5))
    said = [alt.Tooltip(f"{name}:N") for name in ("variant", "point", "score", "reason")]
    points = alt.Chart(alt.Data(values=done)).encode(x=rate, y=score, color=look.colour(), tooltip=said[:3])
    line = alt.Chart(alt.Data(values=_best_of_each_rate(tuned))).encode(x=rate, y=score, color=look.colour())
    cross = alt.Chart(alt.Data(values=failed)).encode(x=rate, y=alt.value(_HEIGHT - 6), color=look.colour())
    layers = [
        line.mark_line(strokeWidth=1.5, opacity=0.6).encode(strokeDash=look.dash()),
        points.mark_point(filled=True, size=50).encode(shape=look.shape()),
        points.transform_filter("datum.chosen").mark_point(size=260, strokeWidth=2, shape="circle"),
        cross.mark_point(shape="M-1,-1L1,1M-1,1L1,-1", size=60, strokeWidth=2).encode(tooltip=[*said[:2], said[3]]),
    ]
    return alt.LayerChart(layer=layers if failed else layers[:-1]).properties(height=_HEIGHT)


def _rows(tuned: Sequence[Tuned]) -> list[dict[str, Any]]:
    """Every trial that has a learning rate, as the chart takes it."""
    return [
        {
            "variant": one.variant,
            "rate": float(trial.point[LEARNING_RATE]),
            "score": trial.score,
            "chosen": trial is one.chosen,
            "point": described(trial),
            "reason": str(trial.reason),
        }
        for one in tuned
        for trial in one.tried
        if _has_place(trial)
    ]


def described(trial: Tried) -> str:
    """Returns the point of a trial in words, each key by its last part."""
    return ", ".join(f"{key.rpartition('.')[2]} {_shown(value)}" for key, value in trial.point.items())


def _section(tuned: Sequence[Tuned], look: Look, *, name: str) -> Section:
    drawn = rates_chart(tuned, look)
    reading = "On the validation split. Ring: chosen. Cross: a trial that did not run to its end."
    figures = [] if drawn is None else [Figure(name, "Score against learning rate", reading, spec(drawn))]
    head, rows = trials_table(tuned)
    made = plain_table(head, rows)
    return Section(f"Tuning: {tuned[0].benchmark}", " ".join(sentences(tuned)), figures, made)


def _has_place(trial: Tried) -> bool:
    """Whether a trial has a place on a logarithmic axis."""
    return trial.point.get(LEARNING_RATE, 0) > 0


def _best_of_each_rate(tuned: Sequence[Tuned]) -> list[dict[str, Any]]:
    rows = []
    for one in tuned:
        rates = sorted({trial.point[LEARNING_RATE] for trial in one.tried if _has_place(trial)})
        for rate in rates:
            there = [trial for trial in one.tried if trial.point.get(LEARNING_RATE) == rate]
            if (top := best(there, rising=one.rising)) is not None:
                rows.append({"variant": one.variant, "rate": float(rate), "score": top.score})
    return rows


def _chosen(one: Tuned) -> str:
    count = f"{len(one.tried)} trial{'' if len(one.tried) == 1 else 's'}"
    if one.chosen is None:
        return f"{one.variant}: none of {count} ran to its end."
    assert one.chosen.score is not None
    return f"{one.variant}: {described(one.chosen)}, with {one.chosen.metric} {number(one.chosen.score)}, of {count}."


def _window(one: Tuned) -> list[str]:
    found = one.window
    if found is None:
        return []
    if found.low == found.high:
        return [f"Of the learning rates tried {_shown(found.best)} alone works."]
    ends = [word for word, is_open in (("below", found.open_below), ("above", found.open_above)) if is_open]
    beyond = f", and maybe {' and '.join(ends)}, where none was tried" if ends else ""
    return [f"Learning rates from {_shown(found.low)} to {_shown(found.high)} work{beyond}."]


def _edges(one: Tuned) -> list[str]:
    ends = ((key.rpartition(".")[2], end) for key, end in one.edges.items())
    return [f"The best {name} is the {end} value tried: widen the range." for name, end in ends]


def _failed(one: Tuned) -> list[str]:
    failed = [trial for trial in one.tried if trial.status != "done"]
    return [f"{len(failed)} did not run to the end ({failed[0].reason})."] if failed and one.chosen is not None else []


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else json.dumps(value) if isinstance(value, list) else str(value)
