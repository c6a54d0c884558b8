"""Times, sizes and rates as people read them."""

from collections.abc import Sequence

_PREFIXES: Sequence[tuple[float, str]] = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


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


def readable_seconds(seconds: float) -> str:
    """Returns "42s", "3m20s" or "1h05m"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def readable_rate(value: float, unit: str) -> str:
    """Returns "950 tokens/s", "12.3k tokens/s" or "4.56G FLOP/s": three figures."""
    for factor, prefix in _PREFIXES:
        if value >= factor:
            return f"{value / factor:.3g}{prefix} {unit}"
    return f"{value:.3g} {unit}"
