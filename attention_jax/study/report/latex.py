"""report.tex: the tables of a comparison for a paper, by booktabs."""

import re
from collections.abc import Sequence

from attention_jax.study.comparison.plan import Plan
from attention_jax.study.report.costs import COST_COLUMNS, cost_cells
from attention_jax.study.report.sentences import heading
from attention_jax.study.report.summary import Summary
from attention_jax.study.report.tables import cells, columns

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    # In the encoding that LaTeX has by default these are other characters.
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    **{character: f"\\{character}" for character in "_%&#${}"},
}
_HEAD = r"% In the preamble: \usepackage[T1]{fontenc} \usepackage{booktabs}"
# What the table of costs has.
_ELSEWHERE = ("params", "ms/step", "memory", "seconds")
# A "-" that is a number's stands as a minus.
_NUMBER = re.compile(r"[-+]?[\d.]+(e-?\d+)?")


def escaped(text: str) -> str:
    """Returns a text that LaTeX sets as it is: one line, every special character escaped."""
    return "".join(_SPECIAL.get(character, character) for character in " ".join(text.split()))


def report_latex(plan: Plan, found: Sequence[Summary], *, command: str) -> str:
    """Returns two tables for each benchmark, of the scores and of the costs.

    Args:
      plan: what was compared.
      found: its summaries.
      command: what reproduces it, for the comment at the top.
    """
    tables = [table for summary in found for table in _tables(summary, plan)]
    return "\n".join([_HEAD, f"% {' '.join(command.split())}", *tables])


def _tables(summary: Summary, plan: Plan) -> list[str]:
    every = columns(summary)
    shown = [place for place, name in enumerate(every) if name not in _ELSEWHERE]
    rows = [cells(row, summary=summary, plan=plan) for row in summary.rows]
    caption = f"{summary.benchmark}: {heading(summary)}, against {plan.reference}."
    scores = _table([every[place] for place in shown], [[row[place] for place in shown] for row in rows], caption)
    if not summary.scored:
        return [scores]
    costs = [[text for text, _ in cost_cells(row)] for row in summary.scored]
    return [scores, _table(COST_COLUMNS, costs, f"{summary.benchmark}: costs.")]


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    lines = [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{escaped(caption)}}}",
        f"\\begin{{tabular}}{{l{'r' * (len(names) - 1)}}}",
        r"\toprule",
        _line([escaped(name) for name in names]),
        r"\midrule",
        *(_line([f"\\texttt{{{escaped(variant)}}}", *map(_cell, texts)]) for variant, *texts in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return f"${text}$" if _NUMBER.fullmatch(text) else escaped(text)


def _line(texts: Sequence[str]) -> str:
    return f"{' & '.join(texts)} \\\\"
