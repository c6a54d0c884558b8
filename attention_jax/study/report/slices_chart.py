"""The chart of scores over the slices of a benchmark."""

import altair as alt

from attention_jax.study.report.charts import FEW_TICKS, HEIGHT, Look, faded, inline, layered, short
from attention_jax.study.report.summary import Summary


def slices_chart(summary: Summary, slicing: str, look: Look) -> alt.LayerChart:
    """Returns the mean score of each variant in each slice of a slicing, in the order of the slices."""
    assert summary.slices is not None
    places = summary.slices.slicings[slicing]
    points = [
        {"variant": variant, "slice": place, "score": short(means[f"{slicing}={place}"])}
        for variant, means in summary.slices.means.items()
        for place in places
    ]
    base = alt.Chart(inline(points)).encode(
        x=alt.X("slice:O", title=slicing, sort=places, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("score:Q", title=summary.metric, scale=alt.Scale(zero=False, padding=12), axis=FEW_TICKS),
        color=look.colour(),
        opacity=faded(1),
    )
    return layered(
        base.mark_line(strokeWidth=2).encode(strokeDash=look.dash()),
        base.mark_point(filled=True, size=80).encode(
            shape=look.shape(), tooltip=["variant:N", alt.Tooltip("slice:N", title=slicing), "score:Q"]
        ),
    ).properties(height=HEIGHT)
