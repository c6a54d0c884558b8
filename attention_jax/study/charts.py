"""The charts of a comparison, as Altair specs: one look per variant, the same in every chart."""

from collections.abc import Sequence
from typing import Any, Literal

import altair as alt

from attention_jax.base.formatting import binary_unit, memory, milliseconds
from attention_jax.study.curves import Curves, mean_curve
from attention_jax.study.results import Result
from attention_jax.study.summary import Row, Summary, done
from attention_jax.study.tables import count, score_text

# Okabe and Ito's colours without their yellow and black, which vanish on a white and on a dark page, and two more that
# are as far from these six as they are from each other, also for a red-blind or green-blind reader.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#9D62FE", "#A2450A")
# Vega's shapes, each with the character that shows it in text; U+FE0E keeps the last from becoming an emoji.
_SHAPES = {
    "circle": "●",
    "square": "■",
    "triangle-up": "▲",
    "diamond": "◆",
    "triangle-down": "▼",
    "cross": "✚",
    "triangle-right": "▶\ufe0e",
}
_DASHES = ([1, 0], [6, 3], [2, 2], [9, 3, 2, 3])

_ROW_HEIGHT = 36  # pixels of one variant in the chart of scores: two lines of label
_LEAST_HEIGHT = 160  # pixels of that chart
_HEIGHT = 260  # pixels of the other charts
_LOG_FROM = 8  # ratio of the largest to the smallest cost at which a linear axis would press the cheap ones together

# A long spec goes on two lines, broken behind its name; Vega hangs the second below the baseline of the first.
_LONG = "length(datum.label) > 22 && indexof(datum.label, ':') > 0"
_TWO_LINES = (
    f"{_LONG} ? [slice(datum.label, 0, indexof(datum.label, ':') + 1),"
    " slice(datum.label, indexof(datum.label, ':') + 1)] : datum.label"
)
_MIDDLE_OF_LINES = {"condition": {"test": _LONG, "value": "bottom"}, "value": "middle"}


class Look:
    """The colour, shape and dash of each of `variants`: by its place in the plan, so fixed over all charts.

    Colours repeat after eight variants, with another dash and another shape; `glyphs` are the shapes as text.
    """

    def __init__(self, variants: Sequence[str]):
        places = range(len(variants))
        self.variants = list(variants)
        self.colours = [COLOURS[place % len(COLOURS)] for place in places]
        self.shapes = [list(_SHAPES)[place % len(_SHAPES)] for place in places]
        self.glyphs = [_SHAPES[shape] for shape in self.shapes]
        self.dashes = [_DASHES[place // len(COLOURS) % len(_DASHES)] for place in places]

    def colour(self) -> alt.Color:
        """Returns the colour of a mark, by variant."""
        return alt.Color("variant:N", scale=alt.Scale(domain=self.variants, range=self.colours), legend=None)

    def shape(self) -> alt.Shape:
        """Returns the shape of a point, by variant."""
        return alt.Shape("variant:N", scale=alt.Scale(domain=self.variants, range=self.shapes), legend=None)

    def dash(self) -> alt.StrokeDash:
        """Returns the dash of a line, by variant."""
        return alt.StrokeDash("variant:N", scale=alt.Scale(domain=self.variants, range=self.dashes), legend=None)


def scores_chart(summary: Summary, results: Sequence[Result], look: Look) -> alt.LayerChart:
    """Returns each variant's mean score with its 95% interval, where it has one, and its seeds, best on top.

    Not bars: a bar must start at zero, and there the differences of a few percent that are looked for cannot be seen.
    """
    axis = alt.Axis(
        title=None,
        labelExpr=_TWO_LINES,
        labelBaseline=_MIDDLE_OF_LINES,
        labelLimit=260,
        labelPadding=8,
        ticks=False,
        domain=False,
    )
    rows = alt.Y("variant:N", sort=[row.variant for row in summary.scored], axis=axis)
    value = alt.X("score:Q", title=summary.metric, scale=alt.Scale(zero=False, padding=12), axis=_FEW_TICKS)
    base = alt.Chart(_data(_score_points(summary))).encode(y=rows, color=look.colour(), opacity=_faded(1))
    seeds = [
        {"variant": result.variant, "seed": result.seed, "score": result.score}
        for result in done(results, benchmark=summary.benchmark)
    ]
    return _layers(
        *_reference_line(summary),
        base.mark_rule(strokeWidth=2.5, strokeCap="round").encode(x="low:Q", x2="high:Q"),
        alt.Chart(_data(seeds))
        .mark_tick(thickness=1.5, size=16)
        .encode(x=value, y=rows, color=look.colour(), opacity=_faded(0.7), tooltip=["variant:N", "seed:N", "score:Q"]),
        base.mark_point(filled=True, size=110).encode(x=value, shape=look.shape(), tooltip=_SCORE_TOOLTIP),
    ).properties(height=max(_LEAST_HEIGHT, _ROW_HEIGHT * len(summary.scored)))


def curves_chart(curves: Curves, look: Look) -> alt.LayerChart:
    """Returns the mean learning curve of each variant, with every seed faint behind it."""
    seeds = [
        {"variant": run.variant, "seed": run.seed, "step": step, "value": value}
        for run in curves.runs
        for step, value in run.points
    ]
    means = [
        {"variant": variant, "step": step, "value": value}
        for variant in look.variants
        for step, value in mean_curve([run for run in curves.runs if run.variant == variant])
    ]
    steps = alt.Axis(
        tickMinStep=1, tickCount=6, labelExpr="datum.value < 1000 ? datum.label : datum.value / 1000 + 'k'"
    )
    step = alt.X("step:Q", title="step", axis=steps, scale=alt.Scale(nice=False))
    value = alt.Y("value:Q", title=curves.metric, scale=alt.Scale(zero=False), axis=_FEW_TICKS)
    every = alt.Chart(_data(seeds)).encode(x=step, y=value, color=look.colour())
    mean = alt.Chart(_data(means)).encode(x=step, y=value, color=look.colour())
    return _layers(
        every.mark_line(strokeWidth=1, clip=True).encode(detail="seed:N", strokeDash=look.dash(), opacity=_faded(0.3)),
        mean.mark_line(strokeWidth=2.5, clip=True).encode(strokeDash=look.dash(), opacity=_faded(1)),
        # Unseen, and larger than the line: what the pointer finds.
        mean.mark_point(size=80, filled=True, opacity=0, clip=True).encode(
            tooltip=["variant:N", "step:Q", alt.Tooltip("value:Q", title=f"mean {curves.metric}", format=".4~f")]
        ),
    ).properties(height=max(_HEIGHT, _ROW_HEIGHT * len({run.variant for run in curves.runs})))


def cost_chart(summary: Summary, look: Look, *, cost: Literal["ms_per_step", "peak_bytes"]) -> alt.LayerChart | None:
    """Returns the scores against what they cost, or None when no row knows this cost."""
    known = [point | {"cost": point[cost]} for point in _score_points(summary) if point[cost]]
    if not known:
        return None
    least, most = (bound(point["cost"] for point in known) for bound in (min, max))
    spread = most / least > _LOG_FROM
    unit, size = ("ms per step", 1) if cost == "ms_per_step" else binary_unit(least if spread else most)
    points = [point | {"cost": point["cost"] / size} for point in known]
    title = unit if cost == "ms_per_step" else f"peak memory, {unit}"
    scale = alt.Scale(type="log" if spread else "linear", zero=False, nice=not spread, padding=24)
    base = alt.Chart(_data(points)).encode(
        x=alt.X("cost:Q", title=f"{title}, log scale" if spread else title, scale=scale, axis=_FEW_TICKS),
        color=look.colour(),
        opacity=_faded(1),
    )
    score = alt.Y("score:Q", title=summary.metric, scale=alt.Scale(zero=False, padding=12), axis=_FEW_TICKS)
    return _layers(
        base.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q"),
        base.mark_point(filled=True, size=130).encode(y=score, shape=look.shape(), tooltip=_SCORE_TOOLTIP),
    ).properties(height=_HEIGHT)


def slices_chart(summary: Summary, slicing: str, look: Look) -> alt.LayerChart:
    """Returns the mean score of each variant in each slice of a slicing, in the order of the slices."""
    assert summary.slices is not None
    places = summary.slices.slicings[slicing]
    points = [
        {"variant": variant, "slice": place, "score": means[f"{slicing}={place}"]}
        for variant, means in summary.slices.means.items()
        for place in places
    ]
    base = alt.Chart(_data(points)).encode(
        x=alt.X("slice:O", title=slicing, sort=places, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("score:Q", title=summary.metric, scale=alt.Scale(zero=False, padding=12), axis=_FEW_TICKS),
        color=look.colour(),
        opacity=_faded(1),
    )
    return _layers(
        base.mark_line(strokeWidth=2).encode(strokeDash=look.dash()),
        base.mark_point(filled=True, size=80).encode(
            shape=look.shape(), tooltip=["variant:N", alt.Tooltip("slice:N", title=slicing), "score:Q"]
        ),
    ).properties(height=_HEIGHT)


_FEW_TICKS = alt.Axis(tickCount=5)

_SCORE_TOOLTIP = [
    alt.Tooltip(f"{field}:N", title=title)
    for field, title in (
        ("variant", "variant"),
        ("text", "score"),
        ("seeds", "seeds"),
        ("verdict", "against reference"),
        ("parameters", "parameters"),
        ("ms", "ms/step"),
        ("memory", "peak memory"),
    )
]


def _score_points(summary: Summary) -> list[dict[str, Any]]:
    return [_score_point(row) for row in summary.scored]


def _score_point(row: Row) -> dict[str, Any]:
    assert row.score is not None
    return {
        "variant": row.variant,
        "score": row.score.mean,
        # Without an interval the rule has no length, and the seeds are what is seen.
        "low": row.score.mean if row.score.low is None else row.score.low,
        "high": row.score.mean if row.score.high is None else row.score.high,
        "text": score_text(row.score),
        "seeds": row.score.seeds,
        "verdict": "-" if row.comparison is None else row.comparison.verdict,
        "parameters": "-" if row.parameters is None else count(row.parameters),
        "ms": "-" if row.ms_per_step is None else milliseconds(row.ms_per_step),
        "memory": "-" if row.peak_bytes is None else memory(row.peak_bytes),
        "ms_per_step": row.ms_per_step,
        "peak_bytes": row.peak_bytes,
    }


def _reference_line(summary: Summary) -> list[alt.Chart]:
    points = [{"score": row.score.mean} for row in summary.scored if row.score and row.variant == summary.reference]
    line = alt.Chart(_data(points)).mark_rule(strokeDash=[3, 3], color="#8A9099").encode(x="score:Q")
    return [line] if points else []


def _layers(*charts: alt.Chart) -> alt.LayerChart:
    return alt.LayerChart(layer=list(charts))


def _faded(opacity: float) -> Any:
    """Returns `opacity`, or nearly none while the page highlights another variant (its parameter `highlight`)."""
    highlighted = "highlight == '' || datum.variant == highlight"
    return alt.condition(highlighted, alt.value(opacity), alt.value(0.08))


def _data(values: list[dict[str, Any]]) -> alt.Data:
    return alt.Data(values=values)
