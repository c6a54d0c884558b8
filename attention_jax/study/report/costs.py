"""The costs of a variant: each with its name, its unit and how it is read, for tables and charts alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from attention_jax.base.formatting import binary_unit, memory, milliseconds, readable_rate
from attention_jax.study.report.provenance import company
from attention_jax.study.report.summary import Row

_LOG_FROM = 8  # ratio of the largest to the smallest cost at which a linear axis would press the cheap ones together
COST_COLUMNS = (
    *("variant", "params", "FLOPs/step", "ms/step", "quartiles apart", "measured", "tokens/s"),
    *("memory", "compile s", "decode state"),
)


@dataclass(frozen=True)
class Cost:
    """One kind of cost.

    Attributes:
      name: the attribute of a `Row`.
      title: what an axis calls it.
      text: of a value, with its unit where the title has none.
      unit: of the smallest and the largest value in a chart, the name of a unit and how many it is; "" for none.
      cheaper: whether a lower value is better.
    """

    name: str
    title: str
    text: Callable[[Any], str]
    unit: Callable[[float, float], tuple[str, float]] = lambda least, most: ("", 1)
    cheaper: bool = True


def count(value: float) -> str:
    """Returns a count in three figures: 950, 65.4K, 1.23M, 7.01B."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


def rate(value: float) -> str:
    """Returns a number in three figures with the prefix of its size: "12.3k", "4.56G"."""
    return readable_rate(value, "").rstrip()


def _bytes(least: float, most: float) -> tuple[str, float]:
    return binary_unit(least if is_wide(least, most) else most)


def _thousands(least: float, most: float) -> tuple[str, float]:
    sizes = (("T", 1e12), ("G", 1e9), ("M", 1e6))
    value = least if is_wide(least, most) else most
    return next(((name, size) for name, size in sizes if value >= size), ("", 1))


def is_wide(least: float, most: float) -> bool:
    """Returns whether costs from the least to the largest want a logarithmic axis."""
    return most / least > _LOG_FROM


COSTS = (
    Cost("ms_per_step", "ms per step", milliseconds),
    Cost("flops_per_step", "FLOPs per step", rate, _thousands),
    Cost("tokens_per_second", "tokens per second", rate, cheaper=False),
    Cost("peak_bytes", "peak memory", memory, _bytes),
    Cost("compile_seconds", "seconds to compile", lambda value: f"{value:.1f}"),
    Cost("decode_bytes", "decode state of a sequence", memory, _bytes),
    Cost("parameters", "parameters", count, _thousands),
)
_BY_NAME = {cost.name: cost for cost in COSTS}


def cost_text(name: str, value: float | None) -> str:
    """Returns a value of the cost of this name as a table shows it, "-" where it is not known."""
    return "-" if value is None else _BY_NAME[name].text(value)


def measured(row: Row) -> str:
    """Returns how the times of a row were measured: "alone", "beside 1", "alone and beside 1 other", "not known"."""
    return " and ".join(map(company, row.beside)) or company(None)


def cost_cells(row: Row) -> list[tuple[str, float | None]]:
    """Returns the text under each of COST_COLUMNS, and the number that it is of; None where it is of none."""
    spread = row.ms_per_step_spread

    def known(*names: str) -> list[tuple[str, float | None]]:
        return [(cost_text(name, getattr(row, name)), getattr(row, name)) for name in names]

    return [
        (row.variant, None),
        *known("parameters", "flops_per_step", "ms_per_step"),
        ("-" if spread is None else milliseconds(spread), spread),
        (measured(row), float(max(row.beside)) if row.beside else None),
        *known("tokens_per_second", "peak_bytes", "compile_seconds", "decode_bytes"),
    ]
