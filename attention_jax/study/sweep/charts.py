"""The charts of a sweep, as Altair specs: its history, the importances, a slice of each key, parallel coordinates."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from attention_jax.study.report.charts import COLOURS

_HEIGHT = 260  # pixels
_LOG_FROM = 30.0  # ratio of the largest to the smallest value of a key from which its axis is logarithmic
_POINT, _LINE, _FAINT = COLOURS[0], COLOURS[1], "#8A9099"
_FEW_TICKS = alt.Axis(tickCount=5)
Row = Mapping[str, Any]


def history_chart(rows: Sequence[Row], metric: str, *, rising: bool) -> alt.LayerChart:
    """Returns the value of each trial that ran to its end, and the best so far.

    Args:
      rows: of each trial `trial`, `value` (None where it has none) and the keys that it set.
      metric: what the value is.
      rising: whether a higher value is better.
    """
    done = [row for row in rows if row["value"] is not None]
    best, sofar = [], None
    for row in done:
        sofar = row["value"] if sofar is None else (max if rising else min)(sofar, row["value"])
        best.append({"trial": row["trial"], "best": sofar})
    trial = alt.X("trial:Q", title="trial", axis=alt.Axis(tickMinStep=1, tickCount=6))
    line = alt.Chart(_data(best)).mark_line(interpolate="step-after", strokeWidth=2, color=_LINE)
    return _layers(
        line.encode(x=trial, y=alt.Y("best:Q", scale=alt.Scale(zero=False))),
        _points(done).encode(x=trial, y=_value(metric), tooltip=_tooltip(done)),
    )


def importance_chart(shares: Mapping[str, float]) -> alt.LayerChart:
    """Returns a bar for each key: the share of the differences between trials that it explains."""
    rows = [{"key": key, "share": share} for key, share in shares.items()]
    bars = alt.Chart(_data(rows)).mark_bar(color=_POINT, height={"band": 0.6})
    return _layers(
        bars.encode(
            x=alt.X("share:Q", title="share of the differences explained", axis=alt.Axis(format="%", tickCount=5)),
            y=alt.Y("key:N", sort=list(shares), title=None, axis=alt.Axis(labelLimit=260)),
            tooltip=["key:N", alt.Tooltip("share:Q", format=".1%")],
        )
    ).properties(height=max(80, 40 * len(rows)))


def slice_chart(rows: Sequence[Row], key: str, metric: str) -> alt.LayerChart:
    """Returns the value of each trial over one key, which may be numbers or words."""
    there = [{**row, "x": row[key]} for row in rows if row["value"] is not None and key in row]
    return _layers(
        _points(there).encode(x=_axis([row["x"] for row in there], key), y=_value(metric), tooltip=_tooltip(there))
    )


def parallel_chart(rows: Sequence[Row], keys: Sequence[str], metric: str, *, rising: bool) -> alt.LayerChart:
    """Returns a line for each trial through its place on the axis of every key, coloured by its value.

    An axis goes from the lowest value that a trial had to the highest, in logarithms where they are far apart; words
    stand at equal distances. A trial without a key has no point there.
    """
    done = [row for row in rows if row["value"] is not None]
    places = {key: _places([row[key] for row in done if key in row]) for key in keys}
    points = [
        {**row, "key": key, "at": places[key][str(row[key])], "is": _short(row[key])}
        for row in done
        for key in keys
        if key in row
    ]
    ends = [
        {"key": key, "at": at, "text": text, "side": "top" if at == 1 else "bottom"}
        for key in keys
        for text, at in _ends([row[key] for row in done if key in row], places[key])
    ]
    key = alt.X("key:N", sort=list(keys), title=None, axis=alt.Axis(labelAngle=0, labelLimit=140, grid=True))
    place = alt.Y("at:Q", axis=None, scale=alt.Scale(domain=[-0.1, 1.1]))
    colour = alt.Color(
        "value:Q",
        title=metric,
        scale=alt.Scale(scheme="viridis", reverse=not rising, zero=False),
        legend=alt.Legend(orient="top", type="gradient", gradientLength=200),
    )
    lines = alt.Chart(_data(points)).encode(x=key, y=place, color=colour, detail="trial:N")
    texts = alt.Chart(_data(ends)).mark_text(fontSize=11, color=_FAINT, dy=alt.expr("datum.side == 'top' ? -10 : 12"))
    return _layers(
        lines.mark_line(strokeWidth=1.5, opacity=0.65),
        lines.mark_point(filled=True, size=45).encode(tooltip=["trial:Q", "value:Q", "key:N", "is:N"]),
        texts.encode(x=key, y=place, text="text:N"),
    )


def _points(rows: Sequence[Row]) -> alt.Chart:
    return alt.Chart(_data(rows)).mark_point(filled=True, size=60, opacity=0.8, color=_POINT)


def _value(metric: str) -> alt.Y:
    return alt.Y("value:Q", title=metric, scale=alt.Scale(zero=False, padding=12), axis=_FEW_TICKS)


def _axis(values: Sequence[Any], title: str) -> alt.X:
    if not all(_is_number(value) for value in values):
        return alt.X("x:N", title=title, axis=alt.Axis(labelAngle=0, labelLimit=140))
    log = bool(values) and min(values) > 0 and max(values) / min(values) >= _LOG_FROM
    return alt.X(
        "x:Q",
        title=f"{title}, log scale" if log else title,
        scale=alt.Scale(type="log" if log else "linear", zero=False, nice=False, padding=12),
        axis=alt.Axis(tickCount=5, format="~g") if log else _FEW_TICKS,
    )


def _places(values: Sequence[Any]) -> dict[str, float]:
    """Where each value lies between the lowest, 0, and the highest, 1."""
    if not all(map(_is_number, values)):
        words = list(dict.fromkeys(map(str, values)))
        return {word: place / max(1, len(words) - 1) for place, word in enumerate(words)}
    log = bool(values) and min(values) > 0 and max(values) / min(values) >= _LOG_FROM
    numbers = {str(value): math.log(value) if log else float(value) for value in values}
    low, high = min(numbers.values(), default=0.0), max(numbers.values(), default=1.0)
    return {text: (number - low) / (high - low) if high > low else 0.5 for text, number in numbers.items()}


def _ends(values: Sequence[Any], places: Mapping[str, float]) -> list[tuple[str, float]]:
    """What stands at the places of an axis: each word, or the lowest and the highest number."""
    if all(map(_is_number, values)):
        return [(_short(value), places[str(value)]) for value in {min(values), max(values)}] if values else []
    return list(places.items())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _tooltip(rows: Sequence[Row]) -> list[alt.Tooltip]:
    names = dict.fromkeys(name for row in rows for name in row if name != "x")
    # Vega reads a dot as a path into the row.
    return [alt.Tooltip(field=name.replace(".", "\\."), type="nominal", title=name) for name in names]


def _data(rows: Sequence[Row]) -> alt.Data:
    return alt.Data(values=[dict(row) for row in rows])


def _layers(*charts: alt.Chart) -> alt.LayerChart:
    return alt.LayerChart(layer=list(charts)).properties(height=_HEIGHT)
