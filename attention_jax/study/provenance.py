"""Where results come from: the versions they were computed with, what was compiled for them, who was beside them."""

from collections.abc import Sequence

from attention_jax.study.results import Result
from attention_jax.study.session import versions


def compiled(results: Sequence[Result]) -> str:
    """Returns one line on what XLA compiled for results, and what came from the cache in its place."""
    compilations = sum(result.compilations or 0 for result in results)
    hits = sum(result.cache_hits or 0 for result in results)
    return f"XLA compiled {compilations} programs for these runs and loaded {hits} from the cache"


def other_version(result: Result) -> str:
    """Returns in which packages a result differs from those here: "jax 0.10.0, here 0.10.1"; empty where in none.

    A result without versions is of before they were written down, and nothing is said of it.
    """
    here, there = versions(), result.versions
    if there is None:
        return ""
    changed = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
    return ", ".join(f"{name} {there.get(name, 'none')}, here {here.get(name, 'none')}" for name in changed)


def other_versions(results: Sequence[Result]) -> list[str]:
    """Returns a line where results were computed by other versions of packages than those here."""
    others = [(result, said) for result in results if (said := other_version(result))]
    if not others:
        return []
    first, said = others[0]
    return [f"{len(others)} of {len(results)} results are of other versions, such as {first.trial}: {said}"]


def facts_of(results: Sequence[Result]) -> dict[str, str]:
    """Returns what a report says of where its results come from, by name."""
    said = {
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "compilations": compiled(results),
    }
    if others := other_versions(results):
        said["other versions"] = others[0]
    return said


def company(beside: int | None) -> str:
    """Returns how a time was measured: "alone", "beside 3 others" that trained, or "not known"."""
    if beside is None:
        return "not known"
    return f"beside {beside} other{'' if beside == 1 else 's'}" if beside else "alone"
