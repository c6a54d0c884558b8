"""The slices of a benchmark in the reports: a table of variants by slices, and a chart for each slicing."""

from attention_jax.study.report.charts import Look, spec
from attention_jax.study.report.html_table import plain_table
from attention_jax.study.report.numbers import number
from attention_jax.study.report.page import Figure, Section
from attention_jax.study.report.slices import Slices
from attention_jax.study.report.slices_chart import slices_chart
from attention_jax.study.report.summary import Summary
from attention_jax.study.report.tables import markdown
from attention_jax.study.statistics.family import ERROR

_CLAIMED = ("better", "worse")


def slices_markdown(summary: Summary) -> str:
    """Returns what follows the table of a benchmark: that of its slices with how to read it; nothing without slices."""
    if (slices := summary.slices) is None:
        return ""
    head, *rows = slice_cells(slices)
    lines = [
        f"\n### {summary.benchmark}: slices\n",
        f"{summary.metric} in each slice. {' '.join(slice_sentences(slices))}\n",
        *markdown(head, rows),
    ]
    return "\n".join(lines) + "\n"


def slices_section(summary: Summary, look: Look, *, prefix: str) -> Section:
    """Returns the section of the page on the slices of a benchmark, which has some.

    Args:
      summary: of the benchmark.
      look: of the variants.
      prefix: of the charts' names, which no other section has.
    """
    assert summary.slices is not None
    figures = [
        Figure(
            f"{prefix}-{place}",
            f"By {slicing}",
            "Mean over seeds, in the order of the slices.",
            spec(slices_chart(summary, slicing, look)),
        )
        for place, slicing in enumerate(summary.slices.slicings)
    ]
    lead = f"{summary.metric} in each slice. {' '.join(slice_sentences(summary.slices))}"
    head, *rows = slice_cells(summary.slices)
    return Section(f"{summary.benchmark}: slices", lead, figures, plain_table(head, rows, variants=True))


def slice_cells(slices: Slices) -> list[tuple[str, ...]]:
    """Returns the heading and the rows of the table: the mean in each slice, behind it a verdict that is claimed."""
    rows = [("variant", *slices.labels)]
    for variant, means in slices.means.items():
        compared = slices.comparisons.get(variant, {})
        verdicts = {label: compared[label].verdict if label in compared else "" for label in slices.labels}
        rows.append(
            (
                variant,
                *(
                    f"{number(mean)} {verdicts[label]}" if verdicts[label] in _CLAIMED else number(mean)
                    for label, mean in means.items()
                ),
            )
        )
    return rows


def slice_sentences(slices: Slices) -> list[str]:
    """Returns what may be said of the slices and how sure it is, a sentence each."""
    found = [
        f"{variant} is {verdict} in {', '.join(labels)}"
        for variant, compared in slices.comparisons.items()
        for verdict in _CLAIMED
        if (labels := [label for label, one in compared.items() if one.verdict == verdict])
    ]
    tested = any(one.p is not None for compared in slices.comparisons.values() for one in compared.values())
    rule = (
        f"A verdict in a slice counts all {len(slices.labels)} slices and all variants of the benchmark together "
        f"(p <= {ERROR}): of 20 studies of equal variants, one is expected to show any, and two where the spreads are "
        "very unequal or two variants of three seeds solve the task or do not."
    )
    if not tested:
        return ["Too few shared seeds for a verdict in any slice.", rule]
    if not found:
        return [f"No slice separates a variant from {slices.reference}.", rule]
    return [f"Against {slices.reference}: {'; '.join(found)}.", rule]
