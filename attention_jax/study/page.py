"""The shell of report.html: one file that loads nothing, readable on a light and on a dark screen."""

import functools
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import vl_convert

from attention_jax.study.charts import Look
from attention_jax.study.overview import VEGA_LITE


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
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_NOTHING_FROM_OUTSIDE}">
<title>{html.escape(title)}</title>
<style>{_CSS}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
<p class="lead">{html.escape(lead)}</p>
<nav aria-label="Variants">{"".join(_button(variant) for variant in look.variants)}</nav>
{"".join(_section(section) for section in sections)}
<section>
<h2>How to read the tables</h2>
<ul class="lead">{"".join(f"<li>{html.escape(line)}</li>" for line in explanation)}</ul>
</section>
<section>
<h2>Reproduce</h2>
<pre><code>{html.escape(command)}</code></pre>
<dl>{"".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items())}</dl>
</section>
</main>
<script type="application/json" id="data">{_json({"charts": charts, "marks": marks})}</script>
<script>{_vega()}</script>
<script>{_JAVASCRIPT}</script>
</body>
</html>
"""


@functools.cache
def _vega() -> str:
    """Returns Vega, Vega-Lite and Vega-Embed as one script that defines `vegaEmbed`; bundling takes a second."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)


def _button(variant: str) -> str:
    name = html.escape(variant)
    glyph = f'<span class="glyph" data-variant="{name}"></span>'
    return f'<button type="button" data-variant="{name}" aria-pressed="false">{glyph}{name}</button>'


def _section(section: Section) -> str:
    figures = "".join(
        f"<figure><figcaption><h3>{html.escape(figure.heading)}</h3>{html.escape(figure.reading)}</figcaption>"
        f'<div class="chart" id="{figure.name}"></div></figure>\n'
        for figure in section.figures
    )
    return f"""<section>
<h2>{html.escape(section.title)}</h2>
<p class="lead">{html.escape(section.lead)}</p>
<div class="figures">
{figures}</div>
<div class="wide">{section.table}</div>
</section>
"""


def _json(value: Any) -> str:
    """Returns JSON that cannot end the <script> element that it is put into."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


# Vega compiles its expressions, hence unsafe-eval; no address at all may be loaded from.
_NOTHING_FROM_OUTSIDE = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
)

_CSS = """
:root { --page: #ffffff; --text: #1c2127; --soft: #5b636d; --line: #dfe3e8; --fill: #f5f7f9;
        --better: #00704f; --worse: #b04600; }
@media (prefers-color-scheme: dark) {
  :root { --page: #15181d; --text: #e6e9ed; --soft: #a0a8b2; --line: #333a43; --fill: #1e232a;
          --better: #3ccf9f; --worse: #ff9a5c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; letter-spacing: -.01em; }
h2 { font-size: 1.35rem; margin: 0 0 .3rem; }
h3 { font-size: 1rem; margin: 0; color: var(--text); }
.lead { max-width: 90ch; margin: 0 0 1rem; color: var(--soft); }
section { margin-top: 2.2rem; padding-top: 1.6rem; border-top: 1px solid var(--line); }
nav { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .4rem; padding: .6rem 0;
      background: var(--page); }
nav button { font: inherit; font-size: .875rem; color: inherit; background: var(--fill); cursor: pointer;
             border: 1px solid var(--line); border-radius: 999px; padding: .15rem .7rem; }
nav button:hover, nav button[aria-pressed=true] { border-color: var(--text); }
.glyph { display: inline-block; width: 1.3em; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 1.6rem 2.2rem; }
figure { margin: 0; min-width: 0; }
figcaption { padding-right: 3rem; font-size: .875rem; color: var(--soft); margin-bottom: .5rem; }
.chart, .chart.vega-embed.has-actions { display: block; width: 100%; padding-right: 0; }
.chart.vega-embed details summary { top: -2.2rem; }
.wide { overflow-x: auto; margin-top: 1.6rem; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .45rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap;
         vertical-align: top; }
th { color: var(--soft); font-weight: 500; }
th:first-child, td:first-child, th:last-child, td:last-child, .unscored td { text-align: left; }
tbody tr:last-child td, tr:has(+ .unscored > td:empty) td { border-bottom: 0; }
.unscored > td:empty + td { padding-top: 0; }
.note { margin: 0; color: var(--soft); white-space: normal; }
.better { color: var(--better); font-weight: 600; }
.worse { color: var(--worse); font-weight: 600; }
pre { background: var(--fill); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem;
      overflow-x: auto; font-size: .875rem; }
ul.lead { padding-left: 1.2em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; font-size: .875rem; }
dt { color: var(--soft); }
dd { margin: 0; }
"""

_JAVASCRIPT = """
const {charts, marks} = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
let views = [];

for (const glyph of document.querySelectorAll(".glyph")) {
  glyph.textContent = marks[glyph.dataset.variant].glyph;
  glyph.style.color = marks[glyph.dataset.variant].colour;
}

function config() {
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const soft = colour("--soft"), line = colour("--line");
  return {
    background: "transparent", view: {stroke: null},
    font: getComputedStyle(document.body).fontFamily,
    axis: {labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line,
           labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", titlePadding: 8},
  };
}

async function draw() {
  views.forEach(result => result.finalize());
  views = await Promise.all(Object.entries(charts).map(([name, spec]) => vegaEmbed("#" + name, spec, {
    mode: "vega-lite", renderer: "svg", config: config(), tooltip: {theme: dark.matches ? "dark" : "light"},
    actions: {export: true, source: false, compiled: false, editor: false},
  })));
  views.forEach(result => highlight(result, pressed()));
}

function pressed() {
  const button = document.querySelector("nav button[aria-pressed=true]");
  return button ? button.dataset.variant : "";
}

function highlight(result, variant) { result.view.signal("highlight", variant).runAsync(); }

for (const button of document.querySelectorAll("nav button")) {
  const show = variant => views.forEach(result => highlight(result, variant));
  button.onmouseenter = () => show(button.dataset.variant);
  button.onmouseleave = () => show(pressed());
  button.onclick = () => {
    const press = button.getAttribute("aria-pressed") === "false";
    document.querySelectorAll("nav button").forEach(other => other.setAttribute("aria-pressed", "false"));
    button.setAttribute("aria-pressed", String(press));
    show(pressed());
  };
}

dark.onchange = draw;
draw();
"""
