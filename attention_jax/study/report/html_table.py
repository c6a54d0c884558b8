"""The tables of a page: each cell with what it is sorted by. The page's script makes its headers buttons."""

import html
from collections.abc import Sequence

from attention_jax.study.comparison.plan import Plan
from attention_jax.study.report.costs import COST_COLUMNS, cost_cells
from attention_jax.study.report.overall import Overall
from attention_jax.study.report.summary import Row, Summary
from attention_jax.study.report.tables import OVERALL_COLUMNS, cells, columns, overall_cells


def td(text: str, *, value: float | None = None, classes: str = "") -> str:
    """Returns a cell of plain text.

    Args:
      text: what it shows.
      value: the number that its column is sorted by; None sorts by the text.
      classes: of the style.
    """
    return f"<td{_attributes(value, classes)}>{html.escape(text)}</td>"


def variant_td(variant: str) -> str:
    """Returns the cell of a variant, which the page's script gives its mark."""
    return td(variant, classes="variant")


def table(names: Sequence[str], rows: Sequence[str], *, words: Sequence[str] = (), attributes: str = "") -> str:
    """Returns a <table> that scrolls in a box of its own.

    Args:
      names: of the columns.
      rows: a <tr> each.
      words: columns of text, which stand to the left.
      attributes: of the table, as HTML.
    """
    head = "".join(
        f"<th{_attributes(None, 'word' if name in words else '')}>{html.escape(name)}</th>" for name in names
    )
    body = "\n".join(rows)
    whole = f"<table{attributes}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'<div class="wide">{whole}</div>'


def plain_table(names: Sequence[str], rows: Sequence[Sequence[str]], *, variants: bool = False) -> str:
    """Returns a <table> of texts.

    Args:
      names: of the columns.
      rows: the texts of each.
      variants: whether the first column is of variants.
    """
    first = variant_td if variants else td
    return table(names, [f"<tr>{first(one)}{''.join(map(td, others))}</tr>" for one, *others in rows])


def html_table(summary: Summary, *, plan: Plan) -> str:
    """Returns the <table> of the scores of one benchmark."""
    return table(columns(summary), [_row(row, summary=summary, plan=plan) for row in summary.rows])


def cost_html(summary: Summary) -> str:
    """Returns the <table> of what each variant that has run costs on one benchmark."""
    rows = []
    for row in summary.scored:
        (variant, _), *others = cost_cells(row)
        rows.append(f"<tr>{variant_td(variant)}{''.join(td(text, value=value) for text, value in others)}</tr>")
    return table(COST_COLUMNS, rows, attributes=' class="costs"')


def overall_html(overall: Overall) -> str:
    """Returns the <table> over all benchmarks."""
    rows = [
        f"<tr>{variant_td(variant)}{td(rank, value=overall.ranks[variant])}{td(better)}</tr>"
        for variant, rank, better in overall_cells(overall)
    ]
    return table(OVERALL_COLUMNS, rows)


def runs_anchor(plan: Plan, benchmark: str, variant: str) -> str:
    """Returns the name of the place on the page where the runs of a variant on a benchmark begin."""
    return f"runs-{plan.benchmarks.index(benchmark)}-{plan.variants.index(variant)}"


def _row(row: Row, *, summary: Summary, plan: Plan) -> str:
    texts = dict(zip(columns(summary), cells(row, summary=summary, plan=plan), strict=True))
    reasons = "".join(f'<p class="note">{html.escape(note)}</p>' for note in row.notes)
    rest = f'<td colspan="{len(texts) - 1}">{reasons}</td>'
    if row.score is None:
        return f'<tr class="unscored">{variant_td(row.variant)}{rest}</tr>'
    values, shown = _values(row), []
    for name, text in texts.items():
        if name == "variant":
            shown.append(variant_td(text))
        elif name == "score":
            said = html.escape(f"The runs of {row.variant} on {summary.benchmark}.")
            to = runs_anchor(plan, summary.benchmark, row.variant)
            link = f'<a href="#{to}" class="runs" data-title="{said}">{html.escape(text)}</a>'
            shown.append(f"<td{_attributes(values[name], '')}>{link}</td>")
        else:
            classes = text.replace(" ", "-") if name == "verdict" else ""
            shown.append(td(text, value=values.get(name), classes=classes))
    if not row.notes:
        return f"<tr>{''.join(shown)}</tr>"
    # Sorting keeps the second under the first.
    return f'<tr class="noted">{"".join(shown)}</tr>\n<tr class="unscored more"><td></td>{rest}</tr>'


def _values(row: Row) -> dict[str, float | None]:
    """Returns what the columns of numbers are sorted by."""
    assert row.score is not None
    return {
        "score": row.score.mean,
        "solved": None if row.solved is None else row.solved.count,
        "seeds": row.score.seeds,
        "params": row.parameters,
        "ms/step": row.ms_per_step,
        "memory": row.peak_bytes,
        "seconds": row.train_seconds,
        "difference": None if row.comparison is None else row.comparison.difference,
        "p": None if row.comparison is None else row.comparison.p,
    }


def _attributes(value: float | None, classes: str) -> str:
    said = "" if value is None else f' data-value="{value:.6g}"'
    return said + (f' class="{html.escape(classes)}"' if classes else "")
