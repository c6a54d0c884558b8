"""A pytest plugin that tells `launch.py check` of each contract test as it ends, a line of JSON on an inherited file.

It imports nothing of the house: the tests watch the kernels as they are imported, so that must not have happened.

  {"collected": 61}
  {"test": "test_masks.py::test_x", "case": "causal", "outcome": "passed" | "failed" | "skipped", "said": "why"}
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

# The names of the variables that the caller sets: the number of the file, and the spec that is checked.
EVENTS, SPEC = "ATTENTION_JAX_CONTRACT_EVENTS", "ATTENTION_JAX_VARIANTS"


def tell(event: dict[str, Any]) -> None:
    """Writes an event."""
    with os.fdopen(os.dup(int(os.environ[EVENTS])), "w") as file:
        file.write(json.dumps(event) + "\n")


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Keeps the cases that are about the variant, and tells why the others are not run."""
    kept = [item for item in items if is_of(item, os.environ[SPEC])]
    tell({"collected": len(kept)})
    for item in items:
        if item not in kept:
            tell({"test": test_of(item.nodeid), "case": "", "outcome": "skipped", "said": why_not(item)})
    items[:] = kept


def is_of(item: pytest.Item, spec: str) -> bool:
    """Whether a case is given the spec of the variant, or one of its limits."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    return spec in [value for value in given.values() if isinstance(value, str)] or hasattr(given.get("limit"), "spec")


def why_not(item: pytest.Function) -> str:
    """Returns why a case is not about the variant: nothing claims what the test is for, or it names others, or none."""
    empty = any("empty parameter set" in str(mark.kwargs) for mark in item.iter_markers("skip"))
    return "not claimed" if empty else "about the library, not about one variant"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tells of a case that passed, failed, broke before it began, or was not run."""
    if report.when == "call" or not report.passed:
        case = report.nodeid.partition("[")[2].removesuffix("]")
        event = {"test": test_of(report.nodeid), "case": case, "outcome": report.outcome}
        tell({**event, "said": "" if report.passed else said(report)})


def said(report: pytest.TestReport) -> str:
    """Returns, in one line, what failed: the statement and what was seen; or why a case was not run."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        return str(report.longrepr).strip().splitlines()[-1]
    seen = [line.strip() for line in crash.message.splitlines() if line.strip()]
    seen = seen[:1] + [line for line in seen[1:] if line.startswith(("Max ", "Mismatched ", "Not equal "))]
    statement = [line[1:].strip() for line in str(report.longrepr).splitlines() if line.startswith(">")]
    return f"{statement[-1] if statement else ''}: {'; '.join(seen)}"


def test_of(nodeid: str) -> str:
    """Returns the name of a test without its case."""
    return nodeid.partition("[")[0]
