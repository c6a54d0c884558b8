"""The chart of scores over costs: one axis for the cost that the reader chooses, and the Pareto front of that cost."""

import math

import altair as alt

from attention_jax.study.report.charts import FEW_TICKS, HEIGHT, Look, faded, inline, layered, score_point, short
from attention_jax.study.report.costs import COSTS, Cost, cost_text, is_wide, measured
from attention_jax.study.report.summary import Row, Summary
from attention_jax.study.statistics.pareto import pareto_front


def pareto_chart(summary: Summary, look: Look) -> alt.LayerChart | None:
    """Returns the scores against a cost that is chosen in a list, or None when no row knows any cost.

    Filled marks are on the Pareto front of that cost, which a grey line follows.
    """
    costs = [cost for cost in COSTS if _known(summary, cost)]
    if not costs:
        return None
    scales = {cost.name: _Scale(cost, summary) for cost in costs}
    fronts = {cost.name: _front(summary, cost) for cost in costs}
    points = [
        score_point(row)
        | {"measured": measured(row)}
        | {f"{cost.name}_text": cost_text(cost.name, getattr(row, cost.name)) for cost in costs}
        | {"cost": {name: scale.place(row) for name, scale in scales.items()}}
        | {"front": [name for name, front in fronts.items() if row.variant in front]}
        for row in summary.scored
    ]
    wide = [name for name, scale in scales.items() if scale.wide]
    chosen = alt.param(
        name="cost",
        value=costs[0].name,
        bind=alt.binding_select(options=list(scales), labels=[scale.title for scale in scales.values()], name="over "),
    )
    base = alt.Chart(inline(points)).transform_calculate(x="datum.cost[cost]").transform_filter("isValid(datum.x)")
    ticks = alt.Axis(
        title=None,
        tickCount=5,
        labelExpr=f"format(indexof({wide}, cost) < 0 ? datum.value : pow(10, datum.value), ',.4~r')",
    )
    cost = alt.X("x:Q", scale=alt.Scale(zero=False, padding=24), axis=ticks)
    score = alt.Y("score:Q", title=summary.metric, scale=alt.Scale(zero=False, padding=12), axis=FEW_TICKS)
    on_front = "indexof(datum.front, cost) >= 0"
    shown = base.encode(x=cost, color=look.colour(), opacity=faded(1))
    rates = [cost.name for cost in costs if not cost.cheaper]
    steps = alt.expr(f"indexof({rates}, cost) < 0 ? 'step-after' : 'step-before'")
    return (
        layered(
            base.transform_filter(on_front)
            .mark_line(interpolate=steps, color="#8A9099", strokeWidth=1.5)
            .encode(cost, score),
            shown.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q"),
            shown.mark_point(size=130, strokeWidth=2).encode(
                y=score,
                shape=look.shape(),
                fill=look.fill(),
                fillOpacity=alt.condition(on_front, alt.value(1), alt.value(0)),
                tooltip=_tooltip(costs),
            ),
        )
        .add_params(chosen)
        .properties(height=HEIGHT)
    )


class _Scale:
    """Where the values of a cost stand on the axis: in a unit that suits them, as logarithms where far apart."""

    def __init__(self, cost: Cost, summary: Summary):
        values = _known(summary, cost).values()
        least, most = min(values), max(values)
        self._name, self.wide = cost.name, is_wide(least, most)
        unit, self._size = cost.unit(least, most)
        said = [cost.title, unit, "log scale" if self.wide else ""]
        if cost.name == "ms_per_step":
            said.insert(1, " or ".join(dict.fromkeys(measured(row) for row in summary.scored)))
        self.title = ", ".join(filter(None, said))

    def place(self, row: Row) -> float | None:
        value = getattr(row, self._name)
        if not value:
            return None
        return short(math.log10(value / self._size) if self.wide else value / self._size)


def _known(summary: Summary, cost: Cost) -> dict[str, float]:
    return {row.variant: value for row in summary.scored if (value := getattr(row, cost.name))}


def _front(summary: Summary, cost: Cost) -> list[str]:
    scores = {row.variant: row.score.mean for row in summary.scored if row.score}
    points = {variant: (value, scores[variant]) for variant, value in _known(summary, cost).items()}
    return pareto_front(points, rising=bool(summary.higher_is_better), cheaper=cost.cheaper)


def _tooltip(costs: list[Cost]) -> list[alt.Tooltip]:
    fields = {"variant": "variant", "text": "score", "seeds": "seeds", "verdict": "against reference"}
    fields |= {f"{cost.name}_text": cost.title for cost in costs} | {"measured": "measured"}
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in fields.items()]
