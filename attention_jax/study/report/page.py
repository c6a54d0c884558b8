"""The shell of report.html: one file that loads nothing, readable on a light and on a dark screen.

What it looks like is in templates/: page.html, and the style and the script that become part of it.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import vl_convert

from attention_jax.study.report.charts import Look
from attention_jax.study.report.overview import VEGA_LITE

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("attention_jax.study.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class Figure:
    """One chart of the page: its Vega-Lite spec, with a heading and one line on how to read it."""

    name: str
    heading: str
    reading: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """One benchmark on the page; `table` is HTML, everything else plain text."""

    title: str
    lead: str
    figures: Sequence[Figure]
    table: str


def page(
    *,
    title: str,
    lead: str,
    look: Look,
    sections: Sequence[Section],
    explanation: Sequence[str],
    facts: Mapping[str, str],
    command: str,
) -> str:
    """Returns the whole HTML document.

    Args:
      title: heading and title of the page.
      lead: the paragraph under it.
      look: the variants, in the order of the legend, and how each is drawn.
      sections: one per benchmark.
      explanation: how to read the tables, a line each.
      facts: name -> value, of the environment.
      command: what reproduces the page.
    """
    charts = {figure.name: figure.spec for section in sections for figure in section.figures}
    marks = {
        variant: {"colour": colour, "glyph": glyph}
        for variant, colour, glyph in zip(look.variants, look.colours, look.glyphs, strict=True)
    }
    return _TEMPLATES.get_template("page.html").render(
        title=title,
        lead=lead,
        marks=marks,
        sections=sections,
        explanation=explanation,
        facts=facts,
        command=command,
        data=_json({"charts": charts, "marks": marks}),
        vega=_vega(),
    )


@functools.cache
def _vega() -> str:
    """Returns Vega, Vega-Lite and Vega-Embed as one script that defines `vegaEmbed`; bundling takes a second."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)


def _json(value: Any) -> str:
    """Returns JSON that cannot end the <script> element that it is put into."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
