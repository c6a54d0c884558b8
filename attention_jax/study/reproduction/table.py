"""docs/results.md, from the rows that are declared and the lines that were measured, and nothing else."""

from collections.abc import Mapping, Sequence

from attention_jax.base.formatting import readable_seconds
from attention_jax.study.report.numbers import number
from attention_jax.study.report.tables import difference_text, markdown, score_text
from attention_jax.study.reproduction.declaration import Figure
from attention_jax.study.reproduction.lines import Line
from attention_jax.study.reproduction.rows import Row
from attention_jax.study.reproduction.standing import Standing, standings
from attention_jax.study.statistics.intervals import Estimate
from attention_jax.study.statistics.measures import higher_is_better
from attention_jax.study.statistics.verdicts import against_reference, complete

_HEAD = """\
<!-- Written by `python launch.py reproduce --table`: an edit is lost, and a test fails on it. -->

# Results

Every row is made again by its command, which says whether it came out as expected. Scores are means over seeds with
their 95% interval; the raw lines are in [results/reproduce](results/reproduce). Times are wall times of one run on one
core or device. "Expected" was seen here before; "published" is what others report, "reference" a strong simple method,
"floor" a model that has learned nothing. A comparison sets each variant against its first one and against its control:
the mean difference over seeds with its interval, and a verdict that holds for all of them together.
"""
_SYSTEMS = ("system", "data", "command", "measure", "score", "seeds", "expected", "bar", "state", "floor", "reference")
_TIME = "time of a run"
_LAST = ("published", _TIME, "where")
_WORDS = ("system", "data", "command", "measure", "bar", "state", "floor", "reference", "published", "where", "variant")
_OF_SCORE = ("variant", "score", "seeds", "expected", "state")
_OF_OTHERS = ("against the first", "against the control")


def table(rows: Sequence[Row], lines: Mapping[str, Sequence[Line]]) -> str:
    """Returns the whole file.

    Args:
      rows: in the order of the table.
      lines: of each row, by its name.
    """
    there = [(row, standings(row, lines.get(row.name, ()))) for row in rows]
    single = [_system(found[0]) for row, found in there if not _is_comparison(row)]
    parts = [_HEAD, "\n".join(["## Systems", "", *markdown((*_SYSTEMS, *_LAST), single, words=_WORDS), ""])]
    parts += ["\n".join(_comparison(row, found)) for row, found in there if _is_comparison(row)]
    return "\n".join(parts)


def state_of(found: Sequence[Standing]) -> str:
    """Returns where a row stands, in a few words, such as "2 of 3 seeds: reproduced"."""
    seeds = found[0].row.seeds
    states = [standing.state for standing in found]
    if set(states) == {"not run yet"}:
        return "not run yet"
    if "stale" in states:
        return "stale: run again"
    left = max(len(standing.left) for standing in found)
    words = [state for state in dict.fromkeys(states) if len(set(states)) == 1 or state != "reproduced"]
    return f"{len(seeds) - left} of {len(seeds)} seeds: {', '.join(words)}"


def seconds_left(row: Row, found: Sequence[Standing]) -> float:
    """Returns the declared time of what has no score, in seconds of one core or device."""
    if row.sweep is not None:
        return 60 * row.declared.core_minutes if found[0].left else 0.0
    return sum(len(standing.left) for standing in found) * 60 * row.declared.core_minutes / len(row.entries)


def _is_comparison(row: Row) -> bool:
    return any(entry.parts for entry in row.entries)


def _system(standing: Standing) -> tuple[str, ...]:
    row, declared = standing.row, standing.row.declared
    return (
        declared.system,
        declared.data,
        _command(row),
        standing.metric or "-",
        _score(standing),
        _seeds(standing),
        _expected(standing),
        standing.bar() or "-",
        _state(standing),
        _figure(declared.floor),
        _figure(declared.reference),
        _figure(declared.published),
        _time(standing),
        _where(standing),
    )


def _comparison(row: Row, found: Sequence[Standing]) -> list[str]:
    declared = row.declared
    where = next((f", {_where(standing)}" for standing in found if standing.runs), "")
    lines = [f"## {declared.system}", "", f"{declared.data}. {_command(row)}{where}", ""]
    for benchmark in dict.fromkeys(standing.entry.parts[0] for standing in found):
        group = [standing for standing in found if standing.entry.parts[0] == benchmark]
        measure = next((standing.metric for standing in group if standing.metric), "not measured yet")
        first = group[0].entry.parts[1]
        control = f"; the control, its floor, is `{declared.control}`" if declared.control else ""
        against = [_against(group, name) for name in (first, declared.control)]
        columns = (*_OF_SCORE, *_OF_OTHERS, *declared.also, _TIME)
        texts = [
            _variant(standing, [of_one.get(standing.entry.parts[1], "-") for of_one in against]) for standing in group
        ]
        lines += [f"### {benchmark}: {measure}{control}", "", *markdown(columns, texts, words=_WORDS), ""]
    return lines


def _variant(standing: Standing, against: Sequence[str]) -> tuple[str, ...]:
    return (
        f"`{standing.entry.parts[1]}`",
        _score(standing),
        _seeds(standing),
        _expected(standing),
        _state(standing),
        *against,
        *(_estimate(standing.measured_by(metric)) for metric in standing.row.declared.also),
        _time(standing),
    )


def _against(group: Sequence[Standing], name: str | None) -> dict[str, str]:
    """Returns, for each variant with seeds of a named one, by how much and whether it is better than that."""
    scores = {standing.entry.parts[1]: standing.scores for standing in group}
    if name is None or not scores[name]:
        return {}
    rising = higher_is_better(next(standing.metric for standing in group if standing.metric) or "")
    compared = against_reference(scores, complete(scores, reference=name), reference=name, rising=rising)
    like = max(abs(score) for score in scores[name].values())
    return {other: f"{difference_text(one, like=like)}, {one.verdict}" for other, one in compared.items()}


def _command(row: Row) -> str:
    return f"`python launch.py reproduce {row.name}`"


def _score(standing: Standing) -> str:
    return _estimate(standing.measured)


def _estimate(measured: Estimate | None) -> str:
    return "-" if measured is None else score_text(measured)


def _state(standing: Standing) -> str:
    if standing.state in ("not run yet", "stale"):
        said = "stale, run again" if standing.state == "stale" else standing.state
        return f"{said}: costs {readable_seconds(seconds_left(standing.row, [standing]))}"
    return f"{standing.state}{standing.why()}"


def _seeds(standing: Standing) -> str:
    declared = len(standing.row.seeds)
    done = declared - len(standing.left)
    more = len(standing.runs) - done
    return f"{done} of {declared}{f' and {more} more' if more else ''}"


def _expected(standing: Standing) -> str:
    expected = standing.expected
    return "-" if expected is None else f"{number(expected.value)} within {number(expected.tolerance)}"


def _figure(figure: Figure | None) -> str:
    return "-" if figure is None else f"{number(figure.value)} ({figure.source})"


def _time(standing: Standing) -> str:
    return "-" if standing.seconds is None else readable_seconds(standing.seconds)


def _where(standing: Standing) -> str:
    """Returns the machine, JAX and the code of the last run."""
    if not standing.runs:
        return "-"
    line = list(standing.runs.values())[-1]
    device = line.machine.get("device")
    on = line.machine["cpu"] if device in (None, "cpu") else f"{device}, {line.machine['cpu']}"
    return f"{on}, jax {line.versions.get('jax', 'none')}, commit {line.commit}"
