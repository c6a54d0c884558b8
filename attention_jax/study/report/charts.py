"""The charts of a comparison, as Altair specs: one look per variant, the same in every chart."""

from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt

from attention_jax.study.comparison.curves import Curves, drawn, mean_curve
from attention_jax.study.comparison.results import Result
from attention_jax.study.report.summary import Row, Summary, done
from attention_jax.study.report.tables import score_text

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

# Points of a curve in a chart, and of all curves of a report: a thousand runs stay within 3 MB.
_LEAST_DRAWN, _MOST_DRAWN, _POINTS_OF_ALL = 24, 120, 24_000
_ROW_HEIGHT = 36  # pixels of one variant in the chart of scores: two lines of label
_LEAST_HEIGHT = 160  # pixels of that chart
HEIGHT = 260  # pixels of the other charts
_MOST_HEIGHT = 480  # pixels that learning curves grow to with the number of variants
FEW_TICKS = alt.Axis(tickCount=5)

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

    def fill(self) -> alt.Fill:
        """Returns the colour that fills a mark, by variant."""
        return alt.Fill("variant:N", scale=alt.Scale(domain=self.variants, range=self.colours), legend=None)

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
    value = alt.X("score:Q", title=summary.metric, scale=alt.Scale(zero=False, padding=12), axis=FEW_TICKS)
    base = alt.Chart(inline([score_point(row) for row in summary.scored])).encode(
        y=rows, color=look.colour(), opacity=faded(1)
    )
    seeds = [
        {"variant": result.variant, "seed": result.seed, "score": short(result.score or 0.0)}
        for result in done(results, benchmark=summary.benchmark)
    ]
    return layered(
        *_reference_line(summary),
        base.mark_rule(strokeWidth=2.5, strokeCap="round").encode(x="low:Q", x2="high:Q"),
        alt.Chart(inline(seeds))
        .mark_tick(thickness=1.5, size=16)
        .encode(x=value, y=rows, color=look.colour(), opacity=faded(0.7), tooltip=["variant:N", "seed:N", "score:Q"]),
        base.mark_point(filled=True, size=110).encode(x=value, shape=look.shape(), tooltip=_SCORE_TOOLTIP),
    ).properties(height=max(_LEAST_HEIGHT, _ROW_HEIGHT * len(summary.scored)))


def most_drawn(curves: Iterable[Curves]) -> int:
    """Returns how many points are drawn of each curve, where all of these are drawn together."""
    return max(_LEAST_DRAWN, min(_MOST_DRAWN, _POINTS_OF_ALL // max(1, sum(len(part.runs) for part in curves))))


def curves_chart(curves: Curves, look: Look, *, most: int) -> alt.LayerChart:
    """Returns the mean learning curve of each variant, with every seed faint behind it.

    Args:
      curves: of the runs of one benchmark.
      look: how each variant is drawn.
      most: points that are drawn of one curve.
    """
    seeds = [
        {"variant": run.variant, "seed": run.seed, **_columns(drawn(run.points, most=most))} for run in curves.runs
    ]
    means = [
        {"variant": variant, **_columns(drawn(mean, most=most))}
        for variant in look.variants
        if (mean := mean_curve([run for run in curves.runs if run.variant == variant]))
    ]
    steps = alt.Axis(
        tickMinStep=1, tickCount=6, labelExpr="datum.value < 1000 ? datum.label : datum.value / 1000 + 'k'"
    )
    step = alt.X("step:Q", title="step", axis=steps, scale=alt.Scale(nice=False))
    value = alt.Y("value:Q", title=curves.metric, scale=alt.Scale(zero=False), axis=FEW_TICKS)
    every, mean_of = (
        alt.Chart(inline(rows)).transform_flatten(["step", "value"]).encode(x=step, y=value, color=look.colour())
        for rows in (seeds, means)
    )
    this_run, others = "run == datum.seed + ' ' + datum.variant", f"run == '' && ({_HIGHLIGHTED})"
    lines = layered(
        every.mark_line(clip=True).encode(
            detail="seed:N",
            strokeDash=look.dash(),
            strokeWidth=alt.condition(this_run, alt.value(2.5), alt.value(1)),
            opacity=alt.when(this_run).then(alt.value(1)).when(others).then(alt.value(0.3)).otherwise(alt.value(0.08)),
        ),
        mean_of.mark_line(strokeWidth=2.5, clip=True).encode(
            strokeDash=look.dash(), opacity=alt.condition(others, alt.value(1), alt.value(0.08))
        ),
        # Unseen, and larger than the line: what the pointer finds.
        mean_of.mark_point(size=80, filled=True, opacity=0, clip=True).encode(
            tooltip=["variant:N", "step:Q", alt.Tooltip("value:Q", title=f"mean {curves.metric}", format=".4~f")]
        ),
    )
    # The page sets it to a run, by seed and variant, which then stands out.
    chosen = alt.param(name="run", value="")
    return lines.add_params(chosen).properties(
        height=min(_MOST_HEIGHT, max(HEIGHT, _ROW_HEIGHT * len({run.variant for run in curves.runs})))
    )


_SCORE_TOOLTIP = [
    alt.Tooltip(f"{field}:N", title=title)
    for field, title in (
        ("variant", "variant"),
        ("text", "score"),
        ("seeds", "seeds"),
        ("verdict", "against reference"),
    )
]


def _columns(points: Sequence[tuple[int, float]]) -> dict[str, list[float]]:
    """Returns a curve as two lists, which take a third of the room of a dict for each point."""
    return {"step": [step for step, _ in points], "value": [value for _, value in points]}


def score_point(row: Row) -> dict[str, Any]:
    """Returns what charts know of a variant's score."""
    assert row.score is not None
    return {
        "variant": row.variant,
        "score": short(row.score.mean),
        # Without an interval the rule has no length, and the seeds are what is seen.
        "low": short(row.score.mean if row.score.low is None else row.score.low),
        "high": short(row.score.mean if row.score.high is None else row.score.high),
        "text": score_text(row.score),
        "seeds": row.score.seeds,
        "verdict": "-" if row.comparison is None else row.comparison.verdict,
    }


def short(value: float) -> float:
    """Returns a number in six digits, which is what a chart can show and takes a third of the room."""
    return float(f"{value:.6g}")


def _reference_line(summary: Summary) -> list[alt.Chart]:
    points = [{"score": row.score.mean} for row in summary.scored if row.score and row.variant == summary.reference]
    line = alt.Chart(inline(points)).mark_rule(strokeDash=[3, 3], color="#8A9099").encode(x="score:Q")
    return [line] if points else []


def spec(chart: alt.LayerChart) -> dict[str, Any]:
    """Returns a chart for the page, which brings its own look and names no address."""
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    # The page sets this parameter in every chart of it.
    named = chart.properties(width="container", autosize=fit).add_params(alt.param(name="highlight", value=""))
    return {key: value for key, value in named.to_dict(validate=False).items() if key not in ("config", "$schema")}


def layered(*charts: alt.Chart) -> alt.LayerChart:
    """Returns charts on top of each other."""
    return alt.LayerChart(layer=list(charts))


_HIGHLIGHTED = "highlight == '' || datum.variant == highlight"


def faded(opacity: float) -> Any:
    """Returns `opacity`, or nearly none while the page highlights another variant (its parameter `highlight`)."""
    return alt.condition(_HIGHLIGHTED, alt.value(opacity), alt.value(0.08))


def inline(values: list[dict[str, Any]]) -> alt.Data:
    """Returns data that is part of the spec, however much of it there is."""
    data = alt.Data(values=())
    # Set behind the check of its schema, which looks at every number; and a tuple, of which Altair makes no copies.
    data.values = tuple(values)
    return data
