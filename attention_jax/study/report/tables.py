"""The tables of a comparison, cell by cell, for the terminal and in Markdown; other formats take the same cells."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from attention_jax.study.comparison.plan import Plan
from attention_jax.study.report.costs import COST_COLUMNS, cost_cells, cost_text
from attention_jax.study.report.numbers import number
from attention_jax.study.report.overall import Overall
from attention_jax.study.report.sentences import heading, over_benchmarks, sentences, size_apart, verdicts
from attention_jax.study.report.summary import Row, Summary
from attention_jax.study.statistics.intervals import Estimate
from attention_jax.study.statistics.verdicts import Comparison, letters

_COLUMNS = (
    *("variant", "score", "solved", "seeds", "params", "ms/step", "memory", "seconds"),
    *("difference", "p", "group", "verdict"),
)
_WORDS = ("variant", "group", "verdict")  # set to the left; numbers to the right
OVERALL_COLUMNS = ("variant", "mean rank", "better")


def columns(summary: Summary) -> tuple[str, ...]:
    """Returns the columns of the table: "solved" where the task is solved or not, "group" where pairs were compared."""
    left_out = {"solved": summary.solved_at is None, "group": not summary.groups}
    return tuple(column for column in _COLUMNS if not left_out.get(column))


def score_text(measured: Estimate) -> str:
    """Returns the mean with what is known of it, in the decimals of the mean.

    "0.8312 ± 0.0105", "0.9891 [0.931, 0.999]" where the interval leans, "0.7667 (0.300 to 1.000)", the lowest and the
    highest run, where there is none, "0.7667" for one run, and "1.0000 (all equal)".
    """
    mean = number(measured.mean)
    if measured.low is not None and measured.high is not None:
        down, up = measured.mean - measured.low, measured.high - measured.mean
        if abs(up - down) < 1e-9 * max(1.0, abs(measured.mean)):
            return f"{mean} ± {number(up, like=measured.mean)}"
        return f"{mean} [{_end(measured.low, measured)}, {_end(measured.high, measured)}]"
    if measured.without == "equal scores":
        return f"{mean} (all equal)"
    if measured.without == "too wide":
        return f"{mean} ({_end(min(measured.runs), measured)} to {_end(max(measured.runs), measured)})"
    return mean


def difference_text(comparison: Comparison, *, like: float) -> str:
    """Returns "+0.0339 ± 0.0204", or "+0.0339" where there is no interval, in the decimals of another number."""
    mean = number(comparison.difference, like=like, sign="+")
    if comparison.high is None:
        return mean
    return f"{mean} ± {number(comparison.high - comparison.difference, like=like)}"


def _end(value: float, measured: Estimate) -> str:
    return number(value, like=10 * max(1.0, abs(measured.mean)))  # a decimal less than the mean


def cells(row: Row, *, summary: Summary, plan: Plan) -> tuple[str, ...]:
    """Returns the text of `row` under each of `columns`; a row without a score shows "-" and what became of it."""
    shown = columns(summary)
    if row.score is None:
        fates = " and ".join(dict.fromkeys(note.split(" (")[0] for note in row.notes))
        texts = {"variant": row.variant, "score": fates, "seeds": f"0/{len(plan.seeds)}"}
        return tuple(texts.get(column, "-") for column in shown)
    comparison = row.comparison
    verdict = "reference" if row.variant == plan.reference else "no shared seed"
    texts = {
        "variant": row.variant,
        "score": score_text(row.score),
        "solved": "-" if row.solved is None else _solved_text(row),
        "seeds": f"{row.score.seeds}/{len(plan.seeds)}",
        "params": _parameters_text(row, summary),
        "ms/step": cost_text("ms_per_step", row.ms_per_step),
        "memory": cost_text("peak_bytes", row.peak_bytes),
        "seconds": "-" if row.train_seconds is None else f"{row.train_seconds:.1f}",
        "difference": "-" if comparison is None else difference_text(comparison, like=row.score.mean),
        "p": "-" if comparison is None or comparison.p is None else _p_text(comparison.p),
        "group": letters(summary.groups, row.variant) or "-",
        "verdict": verdict if comparison is None else comparison.verdict,
    }
    return tuple(texts[column] for column in shown)


def _parameters_text(row: Row, summary: Summary) -> str:
    if row.parameters is None:
        return "-"
    return " ".join(filter(None, (cost_text("parameters", row.parameters), size_apart(row, summary))))


def _solved_text(row: Row) -> str:
    assert row.solved is not None
    return f"{row.solved.count} of {row.solved.seeds} [{row.solved.low:.2f}, {row.solved.high:.2f}]"


def _p_text(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def notes(summary: Summary) -> list[str]:
    """Returns a line for every variant with seeds that have no score, and why."""
    return [f"{row.variant} {note}" for row in summary.rows for note in row.notes]


def terminal_table(summary: Summary, *, plan: Plan) -> Table:
    """Returns the table of one benchmark, for 100 columns; the reports show more of them."""
    table = Table(
        title=Text(f"{summary.benchmark}: {heading(summary)}", style="bold"),
        caption=Text("\n".join([*notes(summary), *sentences(summary, plan=plan)]), style="none"),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    every = columns(summary)
    # "2 of 3 [0.09, 0.99]" says how many seeds there are, and needs their room.
    left_out = ("seconds", "difference", "p", *(("seeds",) if "solved" in every else ()))
    shown = [index for index, column in enumerate(every) if column not in left_out]
    for index in shown:
        # Only a spec may be broken: a number on two lines misleads.
        justify = "left" if every[index] in _WORDS else "right"
        table.add_column(every[index], justify=justify, overflow="fold", no_wrap=index > 0)  # type: ignore[arg-type]
    for row in summary.rows:
        texts = cells(row, summary=summary, plan=plan)
        table.add_row(*(Text(texts[index]) for index in shown))
    return table


def markdown_table(summary: Summary, *, plan: Plan) -> str:
    """Returns the section of one benchmark: heading, verdicts, table and notes."""
    lines = [
        f"## {summary.benchmark}",
        "",
        f"Score: {heading(summary)}. {verdicts(summary)}",
        "",
        *markdown(columns(summary), [cells(row, summary=summary, plan=plan) for row in summary.rows]),
        "",
        *(f"- {line}" for line in (*notes(summary), *sentences(summary, plan=plan))),
    ]
    return "\n".join(lines).rstrip() + "\n"


def cost_markdown(summary: Summary) -> str:
    """Returns the table of what each variant that has run costs on one benchmark; nothing where none has."""
    rows = [[text for text, _ in cost_cells(row)] for row in summary.scored]
    return "\n".join(["", "Costs:", "", *markdown(COST_COLUMNS, rows), ""]) if rows else ""


def overall_cells(overall: Overall) -> list[tuple[str, ...]]:
    """Returns the rows of the table over all benchmarks, best first, the texts under each of OVERALL_COLUMNS."""
    return [(variant, f"{rank:.2f}", _chance_text(overall, variant)) for variant, rank in overall.ranks.items()]


def overall_terminal(overall: Overall) -> Table:
    """Returns the table over all benchmarks."""
    table = Table(
        title=Text("over the benchmarks", style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for index, column in enumerate(OVERALL_COLUMNS):
        table.add_column(column, justify="right" if index else "left", overflow="fold", no_wrap=index > 0)
    for texts in overall_cells(overall):
        table.add_row(*(Text(text) for text in texts))
    return table


def overall_markdown(overall: Overall) -> str:
    """Returns the section over all benchmarks."""
    lines = [
        "## Over the benchmarks",
        "",
        *markdown(OVERALL_COLUMNS, overall_cells(overall)),
        "",
        *(f"- {line}" for line in over_benchmarks(overall)),
    ]
    return "\n".join(lines) + "\n"


def _chance_text(overall: Overall, variant: str) -> str:
    if variant == overall.reference:
        return "reference"
    chance = overall.better.get(variant)
    return "-" if chance is None else f"{chance.probability:.2f} [{chance.low:.2f}, {chance.high:.2f}]"


def markdown(names: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[str] = _WORDS) -> list[str]:
    """Returns the lines of a table, the columns of `words` to the left and those of numbers to the right."""
    rule = "|".join(" --- " if name in words else " ---: " for name in names)
    return ["| " + " | ".join(names) + " |", f"|{rule}|", *(_markdown_line(texts) for texts in rows)]


def _markdown_line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(text.split()).replace("|", r"\|") for text in texts) + " |"
