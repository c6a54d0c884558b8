"""The page of attention maps: the shell and the charts of a comparison's report, one file that loads nothing."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import groupby

import altair as alt
import numpy as np

from attention_jax.study.look import pictures
from attention_jax.study.look.given import Given
from attention_jax.study.look.looked import Lines, Pairs
from attention_jax.study.look.maps import Map, entropies, mean_distances, rollout
from attention_jax.study.look.shaded import shaded
from attention_jax.study.report.charts import HEIGHT, Look, faded, inline, layered, spec
from attention_jax.study.report.page import Figure, Section, page

# Weights below it are left out of the large charts, which would be most of the page.
_LEAST = 0.005
SHARES = "Share of each value in each output"
# What a variant without weights tells of each token: name -> (heading, how to read it).
_TOLD = {
    "decay": ("Share of the state that is kept", "At each token, by head: 1 forgets nothing. The mean over channels."),
    "strength": ("Strength of writing", "How strongly each token is written into the state, by head."),
    "state": ("Norm of the state", "Frobenius norm of what a head has written after each token."),
}
EXPLANATION = (
    "A map has a row for each query and a column for each key; what a row holds sums up to 1 where the variant's "
    "weights do. Its darkest place is its own largest weight.",
    "Of a variant that forms no weights the page shows what it has: the norm of its state, its gates, and, where the "
    "output is linear in the values, how much of each value is in it.",
    "Entropy: of the weights of a query, in nats, the mean over the queries; 0 is one key alone.",
    "Mean distance: how far the keys of a query are, weighted, in tokens or patches, the mean over the queries.",
    "Rollout: how much of each last vector is of each first one, if each layer passes on half by its residual and half "
    "by the mean of its heads (Abnar and Zuidema 2020).",
)


def look_html(
    maps: Sequence[Map],
    given: Given,
    *,
    title: str,
    facts: Mapping[str, str],
    command: str,
    declared: Sequence[Lines | Pairs] = (),
) -> str:
    """Returns the page.

    Args:
      maps: of each layer.
      given: what the model was shown.
      title: of the page.
      facts: name -> value, of where all of it comes from.
      command: what makes the page again.
      declared: what else the model shows.
    """
    of_pairs = [one.weights for one in declared if isinstance(one, Pairs)]
    heads = max(map(len, (array for one in maps for array in _arrays(one))), default=0)
    heads = max([heads, *map(len, of_pairs)])
    look = Look([_head(head) for head in range(heads)])
    parts = [(part, list(layers)) for part, layers in groupby(maps, key=lambda one: one.part)]
    return page(
        title=title,
        lead="Each head of each layer on one input. Point at a head below to bring it out in the charts of heads.",
        look=look,
        sections=[
            *(_section(part, layers, given, look, number) for number, (part, layers) in enumerate(parts)),
            *(_declared(one, number) for number, one in enumerate(declared)),
        ],
        explanation=EXPLANATION,
        facts=facts,
        command=command,
    )


def _declared(one: Lines | Pairs, number: int) -> Section:
    if isinstance(one, Lines):
        said = "" if one.words else "There is nothing to be summed up."
        return Section(one.title, said or "The darker a word, the larger its share; point at it.", [], shaded(one))
    rows, columns = (
        [f"{place} {name}".strip() for place, name in enumerate(names, start=1)] for names in (one.rows, one.columns)
    )
    maps = {_head(head): weights for head, weights in enumerate(one.weights)}
    figure = _map_figure(f"declared-{number}", "Weights", maps, rows, columns)
    return Section(one.title, "", [figure], "\n".join(map(pictures.of_weights, one.weights)))


def _arrays(one: Map) -> list[np.ndarray]:
    """Returns all that there is of a layer, each array by head."""
    return [array for array in (one.weights, one.shares, *one.told.values()) if array is not None]


def _head(number: int) -> str:
    return f"head {number + 1}"


def _section(part: str, layers: Sequence[Map], given: Given, look: Look, number: int) -> Section:
    silent = [one for one in layers if one.weights is None]
    said = [f"Layer {one.layer} is {one.variant}, which forms no weights: {_instead(one)}." for one in silent]
    formed = [one for one in layers if one.weights is not None]
    shared = [one for one in silent if one.shares is not None]
    instead = _told_figures(silent, given, look, number)
    of_shares = f"<h3>{SHARES}</h3>\n{_grid(shared, pictures.of_weights)}" if shared else ""
    if not formed:
        return Section(part.capitalize(), " ".join(said), instead, of_shares)
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
    return Section(part.capitalize(), " ".join(said), [*figures, *instead], "\n".join(filter(None, (table, of_shares))))


def _instead(one: Map) -> str:
    """Returns the words for what is drawn of a layer without weights."""
    drawn = [_reading(name)[0].lower() for name in _names_told([one])]
    if one.shares is not None:
        drawn.append(SHARES.lower())
    return f"drawn in their place: {', '.join(drawn)}" if drawn else "there is nothing to draw of it"


def _told_figures(layers: Sequence[Map], given: Given, look: Look, number: int) -> list[Figure]:
    """Returns a chart of each thing that layers without weights have of each token."""
    return [
        _tokens_figure(f"{name}-{number}", name, [one for one in layers if name in one.told], given, look)
        for name in _names_told(layers)
    ]


def _names_told(layers: Sequence[Map]) -> list[str]:
    """Returns the names of all that is told of some layers, the known ones first."""
    names = {name for one in layers for name in one.told}
    return [*(name for name in _TOLD if name in names), *sorted(names - _TOLD.keys())]


def _reading(name: str) -> tuple[str, str]:
    """Returns the heading of what is told, and how to read it."""
    return _TOLD.get(name, (f"Input {name.removeprefix('given_')}", "As it comes, before any activation, by head."))


def _tokens_figure(figure: str, name: str, layers: Sequence[Map], given: Given, look: Look) -> Figure:
    """Returns a chart of what each head has of each token, of one layer, to be chosen where there are several."""
    queries, _ = _names(layers[0], given)
    layer_of = {one.layer: f"layer {one.layer}, {one.variant}" for one in layers}
    values = [
        {"of": layer_of[one.layer], "variant": _head(head), "token": queries[place], "value": float(f"{value:.4g}")}
        for one in layers
        for head, row in enumerate(one.told[name])
        for place, value in enumerate(row)
    ]
    lines = (
        alt.Chart(inline(values), height=HEIGHT)
        .mark_line(point=True)
        .encode(
            x=alt.X("token:N", sort=None, title="token", scale=alt.Scale(domain=queries)),
            y=alt.Y("value:Q", title=None),
            color=look.colour(),
            opacity=faded(1.0),
            tooltip=["variant:N", "token:N", "value:Q"],
        )
    )
    lines = _chosen(lines, list(layer_of.values()), "Layer ")
    return Figure(figure, *_reading(name), spec(layered(lines)))


def _chosen(chart: alt.Chart, several: Sequence[str], label: str) -> alt.Chart:
    """Returns a chart of one of several at a time, to be chosen below it."""
    if len(several) < 2:
        return chart
    choose = alt.param(name="of", value=several[0], bind=alt.binding_select(options=list(several), name=label))
    return chart.add_params(choose).transform_filter("datum.of == of")


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
    """Returns the pictures of the weights of each head, or of what stands for them."""
    of_layers = [(one, one.shares if one.weights is None else one.weights) for one in layers]
    most = max(len(weights) for _, weights in of_layers if weights is not None)
    head = "".join(f"<th>{_head(number)}</th>" for number in range(most))
    rows = [
        f"<tr><td>layer {one.layer}, {escape(one.variant)}</td>"
        + "".join(f"<td>{picture(of_head)}</td>" for of_head in weights)
        + "</tr>"
        for one, weights in of_layers
        if weights is not None
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
    cells = _chosen(cells, list(maps), "Map ")
    reading = f"Weights of {_LEAST} and more; point at a place for its tokens."
    return Figure(name, heading, reading, spec(layered(cells)))
