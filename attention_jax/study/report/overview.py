"""One static picture of a comparison, for a README."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from attention_jax.base.errors import Refused
from attention_jax.study.comparison.curves import Curves
from attention_jax.study.comparison.plan import Plan
from attention_jax.study.comparison.results import Result
from attention_jax.study.report.charts import Look, curves_chart, most_drawn, scores_chart
from attention_jax.study.report.summary import Summary
from attention_jax.training.run.workdir import write_atomically

# The version of Vega-Lite that altair writes, as vl_convert names it: "6.4".
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])

_WIDTH = 330  # pixels of one chart: two and their labels fill the 900 of a README
_FONT = "Helvetica, Arial, sans-serif"
_PAPER: dict[str, Any] = {
    "background": "white",
    "font": _FONT,
    "padding": 16,
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": "#E6E8EB"},
    "title": {"fontSize": 15, "subtitleFontSize": 12, "anchor": "start", "frame": "group", "subtitleColor": "#555B63"},
}


def save_svg(
    plan: Plan, found: Sequence[Summary], results: Sequence[Result], curves: Mapping[str, Curves], path: Path
) -> None:
    """Writes an SVG with two charts for each benchmark: the scores with their intervals, and the learning curves.

    Args:
      plan: what was compared.
      found: its summaries; those without a score are left out.
      results: of its trials.
      curves: benchmark -> its learning curves.
      path: the file to write; its folder is made.

    Raises:
      Refused: no run is done, so there is nothing to draw.
    """
    look = Look(plan.variants)
    most = most_drawn(curves.values())
    rows = [
        _benchmark_row(summary, results, curves[summary.benchmark], look, most=most)
        for summary in found
        if summary.scored
    ]
    if not rows:
        raise Refused(f"there is nothing to draw in {path}: no run is done.")
    picture = alt.vconcat(*rows, spacing=36).add_params(alt.param(name="highlight", value=""))
    spec = picture.to_dict(validate=False) | {"config": _PAPER}
    write_atomically(path, vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE))


def _benchmark_row(
    summary: Summary, results: Sequence[Result], curves: Curves, look: Look, *, most: int
) -> alt.HConcatChart:
    subtitle = "mean, 95% interval where there is one, seeds; dashed: the reference"
    scores = scores_chart(summary, results, look).properties(width=_WIDTH)
    charts = [scores.properties(title=alt.Title(summary.benchmark, subtitle=subtitle))]
    if curves.runs:
        title = alt.Title("learning curves", subtitle="mean over seeds, each seed faint; colours as on the left")
        charts.append(curves_chart(curves, look, most=most).properties(width=_WIDTH, title=title))
    return alt.hconcat(*charts, spacing=40)
