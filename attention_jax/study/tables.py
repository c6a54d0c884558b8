"""The tables of a comparison: for the terminal, in Markdown and in HTML, from the same cells."""

import html
import math
from collections.abc import Sequence
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from attention_jax.study.plan import Plan
from attention_jax.study.statistics import Estimate, quantile
from attention_jax.study.summary import Row, Summary

COLUMNS = ("variant", "score", "seeds", "params", "ms/step", "memory", "seconds", "difference", "verdict")


def explanation(plan: Plan) -> list[str]:
    """Returns how to read the tables, with what the number of seeds of `plan` allows to say, a line each."""
    seeds = len(plan.seeds)
    if seeds == 1:
        power = "with the one seed here there is no interval and no verdict, give at least three"
    else:
        power = (
            f"Student's t, which is {quantile(seeds):.1f} with the {seeds} seeds here and {quantile(seeds + 2):.1f} "
            f"with {seeds + 2}: few seeds separate only large differences"
        )
    return [
        f"score: mean over seeds ± the half-width of its 95% interval ({power}).",
        "difference: variant minus reference, paired by seed, with its 95% interval. verdict: better or worse when "
        "that interval excludes zero, otherwise not separated.",
        "The intervals hold what changes from seed to seed, not the choice of the test examples. They are not "
        "corrected for the number of variants: of 20 that equal the reference, one is expected to look separated.",
        "params: trained parameters. ms/step and seconds (of one run): means over seeds. memory: the largest peak.",
    ]


def number(value: float, *, like: float | None = None, sign: Literal["-", "+"] = "-") -> str:
    """Returns `value` with four decimals, fewer when `like`, which is `value` by default, is large: 0.8312, 12.346.

    `sign` is that of a format specification: "+" shows the sign of a positive number too.
    """
    magnitude = max(abs(value if like is None else like), 1.0)
    return f"{value:{sign}.{max(0, 4 - math.floor(math.log10(magnitude)))}f}"


def plus_minus(measured: Estimate, *, like: float | None = None, sign: Literal["-", "+"] = "-") -> str:
    """Returns "0.8312 ± 0.0105", or "0.8312 ± -" when there is one seed; `like` and `sign` as in `number`."""
    like = measured.mean if like is None else like
    half = "-" if measured.half_width is None else number(measured.half_width, like=like)
    return f"{number(measured.mean, like=like, sign=sign)} ± {half}"


def count(value: float) -> str:
    """Returns a count in three figures: 950, 65.4K, 1.23M, 7.01B."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


def milliseconds(value: float) -> str:
    """Returns `value`, in milliseconds, to a hundredth below 100 and without decimals above."""
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def binary_unit(size: float) -> tuple[str, int]:
    """Returns the largest binary unit in which `size`, in bytes, is not below one, and its bytes: ("MiB", 1048576)."""
    units = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
    return next(((name, unit) for name, unit in units if size >= unit), ("B", 1))


def memory(size: float) -> str:
    """Returns `size`, in bytes, in the unit that suits it: "12.3 MiB", "123 MiB"."""
    name, unit = binary_unit(size)
    return f"{size / unit:.{1 if size < 100 * unit and unit > 1 else 0}f} {name}"


def cells(row: Row, *, plan: Plan) -> tuple[str, ...]:
    """Returns the text of `row` under each of COLUMNS; a row without a score shows "-" and what became of it."""
    if row.score is None:
        fates = " and ".join(dict.fromkeys(note.split(" (")[0] for note in row.notes))
        return (row.variant, fates, f"0/{len(plan.seeds)}", *("-",) * (len(COLUMNS) - 3))
    comparison = row.comparison
    verdict = "reference" if row.variant == plan.reference else "no shared seed"
    return (
        row.variant,
        plus_minus(row.score),
        f"{row.score.seeds}/{len(plan.seeds)}",
        "-" if row.parameters is None else count(row.parameters),
        "-" if row.ms_per_step is None else milliseconds(row.ms_per_step),
        "-" if row.peak_bytes is None else memory(row.peak_bytes),
        "-" if row.train_seconds is None else f"{row.train_seconds:.1f}",
        "-" if comparison is None else plus_minus(comparison.difference, like=row.score.mean, sign="+"),
        verdict if comparison is None else comparison.verdict,
    )


def notes(summary: Summary) -> list[str]:
    """Returns a line for every variant with seeds that have no score, and why."""
    return [f"{row.variant} {note}" for row in summary.rows for note in row.notes]


def heading(summary: Summary) -> str:
    """Returns the metric and its direction: "test_accuracy, higher is better"."""
    if summary.metric is None:
        return "no run is done"
    return f"{summary.metric}, {'higher' if summary.higher_is_better else 'lower'} is better"


def verdicts(summary: Summary) -> str:
    """Returns the verdicts, in one line: "Against scaled_dot: better: ...; worse: ..."."""
    found: dict[str, list[str]] = {}
    for row in summary.scored:
        if row.comparison is not None:
            found.setdefault(row.comparison.verdict, []).append(row.variant)
    if not found:
        return f"Nothing to compare with the reference, {summary.reference}."
    listed = "; ".join(f"{verdict}: {', '.join(found[verdict])}" for verdict in sorted(found))
    return f"Against {summary.reference}: {listed}."


def terminal_table(summary: Summary, *, plan: Plan) -> Table:
    """Returns the table of one benchmark, for 100 columns; the differences are left to the reports."""
    table = Table(
        title=Text(f"{summary.benchmark}: {heading(summary)}", style="bold"),
        caption=Text("\n".join(notes(summary)), style="none"),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    shown = [index for index, column in enumerate(COLUMNS) if column != "difference"]
    for index in shown:
        text = COLUMNS[index] in ("variant", "verdict")
        # Only a spec may be broken: a number on two lines misleads.
        table.add_column(COLUMNS[index], justify="left" if text else "right", overflow="fold", no_wrap=index > 0)
    for row in summary.rows:
        texts = cells(row, plan=plan)
        table.add_row(*(Text(texts[index]) for index in shown))
    return table


def markdown_table(summary: Summary, *, plan: Plan) -> str:
    """Returns the section of one benchmark: heading, table, verdicts and notes."""
    lines = [
        f"## {summary.benchmark}",
        "",
        f"Score: {heading(summary)}. {verdicts(summary)}",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "|".join(" --- " if column in ("variant", "verdict") else " ---: " for column in COLUMNS) + "|",
        *(_markdown_line(cells(row, plan=plan)) for row in summary.rows),
        "",
        *(f"- {note}" for note in notes(summary)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def html_table(summary: Summary, *, plan: Plan) -> str:
    """Returns the <table> of one benchmark."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in COLUMNS)
    body = "\n".join(_html_row(row, plan=plan) for row in summary.rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _markdown_line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", r"\|") for text in texts) + " |"


def _html_row(row: Row, *, plan: Plan) -> str:
    texts = [html.escape(text) for text in cells(row, plan=plan)]
    reasons = "".join(f'<p class="note">{html.escape(note)}</p>' for note in row.notes)
    first = f'<td><span class="glyph" data-variant="{texts[0]}"></span>{texts[0]}</td>'
    rest = f'<td colspan="{len(COLUMNS) - 1}">{reasons}</td>'
    if row.score is None:
        return f'<tr class="unscored">{first}{rest}</tr>'
    verdict = f'<td class="{texts[-1].replace(" ", "-")}">{texts[-1]}</td>'
    line = f"<tr>{first}{''.join(f'<td>{text}</td>' for text in texts[1:-1])}{verdict}</tr>"
    return f'{line}\n<tr class="unscored"><td></td>{rest}</tr>' if row.notes else line
