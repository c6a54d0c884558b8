"""A pytest plugin that tells `launch.py check` of each contract test as it ends, a line of JSON on an inherited file.

It imports nothing of the house: the tests watch the kernels as they are imported, so that must not have happened.

  {"collected": 61}
  {"test": "test_masks.py::test_x", "case": "causal", "outcome": "passed"}
  {"test": "test_masks.py::test_x", "case": "causal", "outcome": "skipped", "said": "why"}
  {"test": "test_masks.py::test_x", "case": "causal", "outcome": "failed", "said": {"tried": "what"}}
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from typing import Any

import pytest

from attention_jax.cli.contract_failure import failure

# The names of the variables that the caller sets: the number of the file, and the spec that is checked.
EVENTS, SPEC = "ATTENTION_JAX_CONTRACT_EVENTS", "ATTENTION_JAX_VARIANTS"
# Under which a report has what a failure says.
FAILURE = "attention_jax failure"

Reporting = Generator[None, pytest.TestReport, pytest.TestReport]


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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function, call: pytest.CallInfo[None]) -> Reporting:
    """Adds to the report of a failure what was tried, what came out and what should have."""
    report = yield
    if report.failed and call.excinfo is not None:
        report.user_properties.append((FAILURE, failure(call.excinfo, item)))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tells of a case that passed, failed, broke before it began, or was not run."""
    if report.when == "call" or not report.passed:
        case = report.nodeid.partition("[")[2].removesuffix("]")
        event: dict[str, Any] = {"test": test_of(report.nodeid), "case": case, "outcome": report.outcome}
        if report.failed:
            event["said"] = dict(report.user_properties)[FAILURE]
        elif isinstance(report.longrepr, tuple):
            event["said"] = report.longrepr[2].removeprefix("Skipped: ")
        tell(event)


def test_of(nodeid: str) -> str:
    """Returns the name of a test without its case."""
    return nodeid.partition("[")[0]
