"""The page of attention maps: the shell and the charts of a comparison's report, one file that loads nothing."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import groupby

import altair as alt
import numpy as np

from attention_jax.study.look import pictures
from attention_jax.study.look.given import Given
from attention_jax.study.look.maps import Map, entropies, mean_distances, rollout
from attention_jax.study.report.charts import HEIGHT, Look, faded, inline, layered, spec
from attention_jax.study.report.page import Figure, Section, page

# Weights below it are left out of the large charts, which would be most of the page.
_LEAST = 0.005
EXPLANATION = (
    "A map has a row for each query and a column for each key; what a row holds sums up to 1 where the variant's "
    "weights do. Its darkest place is its own largest weight.",
    "Entropy: of the weights of a query, in nats, the mean over the queries; 0 is one key alone.",
    "Mean distance: how far the keys of a query are, weighted, in tokens or patches, the mean over the queries.",
    "Rollout: how much of each last vector is of each first one, if each layer passes on half by its residual and half "
    "by the mean of its heads (Abnar and Zuidema 2020).",
)


def look_html(maps: Sequence[Map], given: Given, *, title: str, facts: Mapping[str, str], command: str) -> str:
    """Returns the page.

    Args:
      maps: of each layer.
      given: what the model was shown.
      title: of the page.
      facts: name -> value, of where all of it comes from.
      command: what makes the page again.
    """
    heads = max((len(one.weights) for one in maps if one.weights is not None), default=0)
    look = Look([_head(head) for head in range(heads)])
    parts = [(part, list(layers)) for part, layers in groupby(maps, key=lambda one: one.part)]
    return page(
        title=title,
        lead="Each head of each layer on one input. Point at a head below to bring it out in the charts of heads.",
        look=look,
        sections=[_section(part, layers, given, look, number) for number, (part, layers) in enumerate(parts)],
        explanation=EXPLANATION,
        facts=facts,
        command=command,
    )


def _head(number: int) -> str:
    return f"head {number + 1}"


def _section(part: str, layers: Sequence[Map], given: Given, look: Look, number: int) -> Section:
    silent = [one for one in layers if one.weights is None]
    said = [
        f"Layer {one.layer} is {one.variant}, which forms no weights: there is nothing to draw of it." for one in silent
    ]
    formed = [one for one in layers if one.weights is not None]
    if not formed:
        return Section(part.capitalize(), " ".join(said), [], "")
    queries, keys = _names(formed[0], given)
    figures = [_heads_figure(f"entropy-{number}", "Entropy", "nats", formed, entropies, look)]
    if not formed[0].cross:

        def distances(weights: np.ndarray) -> np.ndarray:
            return mean_distances(weights, given.places(len(queries)))

        unit = "tokens" if given.grid is None else "patches"
        figures.append(_heads_figure(f"distance-{number}", "Mean distance", unit, formed, distances, look))
    table = _pictures(formed, given)
    if not formed[0].cross and not silent:
        flow = rollout([one.weights for one in formed if one.weights is not None])
        figures.append(_map_figure(f"rollout-{number}", "Rollout", {"rollout": flow}, queries, keys))
        if given.image is not None:
            seen = pictures.over_image(given.image, _on_grid(flow, given))
            table += f"\n<h3>Rollout over the image</h3>\n{seen}"
    large = {
        f"layer {one.layer}, {_head(head)}": weights
        for one in formed
        if one.weights is not None
        for head, weights in enumerate(one.weights)
    }
    figures.append(_map_figure(f"weights-{number}", "One head", large, queries, keys))
    return Section(part.capitalize(), " ".join(said), figures, table)


def _names(one: Map, given: Given) -> tuple[list[str], list[str]]:
    """Returns the names of queries and keys, each with its number, since a token may come twice."""
    of_queries = given.tokens[one.stack]
    of_keys = given.tokens["encoder"] if one.cross else of_queries
    queries, keys = ([f"{place + 1} {name}" for place, name in enumerate(names)] for names in (of_queries, of_keys))
    return queries, keys


def _on_grid(weights: np.ndarray, given: Given) -> np.ndarray:
    """Returns what the class token attends to of each patch, or, where there is none, the mean token; [R, C]."""
    row = weights[0, 1:] if given.class_token else weights.mean(0)
    assert given.grid is not None
    return row.reshape(given.grid)


def _pictures(layers: Sequence[Map], given: Given) -> str:
    """Returns the maps of heads x layers as a table, and of an image what is attended to of it."""
    table = f"<h3>Heads of each layer</h3>\n{_grid(layers, pictures.of_weights)}"
    image = given.image
    if image is None:
        return table
    over = _grid(layers, lambda weights: pictures.over_image(image, _on_grid(weights, given)))
    whose = "the class token attends" if given.class_token else "its tokens attend"
    return f"{table}\n<h3>Where {whose} in the image</h3>\n{over}"


def _grid(layers: Sequence[Map], picture: Callable[[np.ndarray], str]) -> str:
    most = max(len(one.weights) for one in layers if one.weights is not None)
    head = "".join(f"<th>{_head(number)}</th>" for number in range(most))
    rows = [
        f"<tr><td>layer {one.layer}, {escape(one.variant)}</td>"
        + "".join(f"<td>{picture(weights)}</td>" for weights in one.weights)
        + "</tr>"
        for one in layers
        if one.weights is not None
    ]
    return f"<table><thead><tr><th>layer</th>{head}</tr></thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table>"


def _heads_figure(
    name: str,
    heading: str,
    unit: str,
    layers: Sequence[Map],
    measure: Callable[[np.ndarray], np.ndarray],
    look: Look,
) -> Figure:
    values = [
        {"layer": one.layer, "variant": _head(head), "value": round(float(value), 4)}
        for one in layers
        if one.weights is not None
        for head, value in enumerate(measure(one.weights))
    ]
    points = (
        alt.Chart(inline(values), height=HEIGHT)
        .mark_point(filled=True, size=80)
        .encode(
            x=alt.X("layer:O", title="layer", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("value:Q", title=unit),
            color=look.colour(),
            shape=look.shape(),
            opacity=faded(1.0),
            tooltip=["variant:N", "layer:O", "value:Q"],
        )
    )
    return Figure(name, heading, f"Of each head, in {unit}.", spec(layered(points)))


def _map_figure(
    name: str, heading: str, maps: Mapping[str, np.ndarray], queries: Sequence[str], keys: Sequence[str]
) -> Figure:
    """Returns a chart of one of the maps, to be chosen below it where there are several."""
    values = [
        {"of": of, "query": queries[row], "key": keys[column], "weight": round(float(weights[row, column]), 3)}
        for of, weights in maps.items()
        for row, column in zip(*np.nonzero(weights >= _LEAST), strict=True)
    ]
    cells = (
        alt.Chart(inline(values), height=max(HEIGHT, 14 * len(queries)))
        .mark_rect()
        .encode(
            x=alt.X("key:N", sort=None, title="key", scale=alt.Scale(domain=list(keys))),
            y=alt.Y("query:N", sort=None, title="query", scale=alt.Scale(domain=list(queries))),
            color=alt.Color("weight:Q", scale=alt.Scale(scheme="blues", domainMin=0), legend=None),
            tooltip=["query:N", "key:N", "weight:Q"],
        )
    )
    if len(maps) > 1:
        choose = alt.param(name="of", value=next(iter(maps)), bind=alt.binding_select(options=list(maps), name="Map "))
        cells = cells.add_params(choose).transform_filter("datum.of == of")
    reading = f"Weights of {_LEAST} and more; point at a place for its tokens."
    return Figure(name, heading, reading, spec(layered(cells)))
