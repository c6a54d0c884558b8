"""Where results come from: the versions they were computed with, what was compiled for them, who was beside them."""

from collections.abc import Sequence

from attention_jax.study.comparison.results import Result
from attention_jax.study.engine.compiler import versions


def compiled(results: Sequence[Result]) -> str:
    """Returns one line on what XLA compiled for results, and what came from the cache in its place."""
    compilations = sum(result.compilations or 0 for result in results)
    hits = sum(result.cache_hits or 0 for result in results)
    refused = sum(result.cache_refused or 0 for result in results)
    said = f"; {refused} that are in the cache could not be loaded" if refused else ""
    return f"XLA compiled {compilations} programs for these runs and loaded {hits} from the cache{said}"


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


def as_members(results: Sequence[Result]) -> list[str]:
    """Returns a line where runs were trained as members: what a step cost is then that of several runs."""
    counts = [result.members or 1 for result in results if result.status == "done"]
    together = [count for count in counts if count > 1]
    if not together:
        return []
    sizes = " or ".join(map(str, sorted(set(together))))
    return [
        f"{len(together)} of {len(results)} runs were trained as one of {sizes} members: their ms per step and peak "
        "memory are of all members of a step (results.jsonl says how many)"
    ]


def other_devices(results: Sequence[Result], devices: int) -> list[str]:
    """Returns a line where results were computed on other numbers of devices than those of this command."""
    others = [result for result in results if result.devices not in (None, devices)]
    if not others:
        return []
    there = ", ".join(map(str, sorted({result.devices for result in others if result.devices is not None})))
    return [
        f"{len(others)} of {len(results)} results are of {there} devices a run, here {devices}: their times cannot be "
        "compared, and their scores differ by rounding"
    ]


def remarks(results: Sequence[Result], *, devices: int) -> list[str]:
    """Returns lines on what was compiled for results, and on those that are not like what this command computes.

    Args:
      results: all of a comparison.
      devices: how many each run of this command has.
    """
    return [compiled(results), *as_members(results), *other_versions(results), *other_devices(results, devices)]


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
