"""What a failed contract test says to the user: what was tried, what came out, what should have.

It is read off the exception and the frame of the test, so that any test speaks, whoever wrote it. It imports nothing of
the house, as contract_plugin.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

RELATIONS = {
    "<=": "at most",
    ">=": "at least",
    "==": "",
    "!=": "anything but",
    "<": "less than",
    ">": "more than",
    "in": "one of",
    "is": "",
}
COMPARED = re.compile(r"^assert (?P<left>.+?) (?P<relation><=|>=|==|!=|<|>|in|is) (?P<right>.+)$")
# What a call of a test's own measures is, in words.
MEASURES = {"error": "a largest difference of {} standard deviations"}
LONGEST = 400


def failure(info: pytest.ExceptionInfo[BaseException], item: pytest.Function) -> dict[str, str]:
    """Returns "tried", "came out" and "should have" of an exception in a test, and "that is", what the test adds.

    Args:
      info: the exception.
      item: the case of the test, whose own name tells its parameters.
    """
    found = next((entry.locals for entry in info.traceback if entry.name == item.originalname), {})
    given = item.callspec.params if hasattr(item, "callspec") else {}
    found = {name: value for name, value in found.items() if name.isidentifier() and name not in given}
    of_tests = [entry for entry in info.traceback if Path(entry.path).name.startswith("test_")]
    said = {"tried": _tried(found), **_outcome(info, _statement(of_tests[-1:]))}
    return {name: _short(words) for name, words in said.items() if words}


def _tried(found: dict[str, Any]) -> str:
    """Returns the numbers and words of a test, such as the engine that it came to."""
    plain = {name: value for name, value in found.items() if isinstance(value, (str, bool, int, float))}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in plain.items())


def _outcome(info: pytest.ExceptionInfo[BaseException], statement: ast.stmt | None) -> dict[str, str]:
    message, kind = str(info.value).strip(), info.type.__name__
    for reads in (_arrays, _refusal, _assertion):
        if outcome := reads(message, kind, statement):
            return outcome
    # The user's own file, where it is on the way.
    last = [entry for entry in info.traceback if "site-packages" not in str(entry.path)][-1]
    said = message.split("--------------------")[0]
    where = f"({Path(last.path).name}, line {last.lineno + 1})"
    return {"came out": f"{kind}: {_short(said)} {where}", "should have": "no error"}


def _statement(entries: list[Any]) -> ast.stmt | None:
    """Returns the statement that failed; None for one that cannot be read."""
    for entry in entries:
        source = dedent(str(entry.statement))
        # The head of a `with` alone is no statement.
        for text in (source, f"{source}\n    pass"):
            try:
                return ast.parse(text).body[0]
            except (SyntaxError, IndexError):
                continue
    return None


def _arrays(message: str, kind: str, statement: ast.stmt | None) -> dict[str, str] | None:
    """Of numpy.testing: how many numbers differ, and by how much."""
    differ = re.search(r"Mismatched elements: (\d+) / (\d+)", message)
    if kind != "AssertionError" or not differ:
        return None
    most = re.search(r"Max absolute difference[^:]*: (\S+)", message)
    within = re.search(r"Not equal to tolerance (.+)", message)
    added = message.splitlines()[1 if within else 2 : 2 if within else 3] if "err_msg" in _source(statement) else []
    return {
        "came out": f"{differ[1]} of {differ[2]} numbers differ" + (f", by up to {most[1]}" if most else ""),
        "should have": f"the same numbers within {within[1]}" if within else "the same numbers, bit for bit",
        "that is": " ".join(added),
    }


def _refusal(message: str, kind: str, statement: ast.stmt | None) -> dict[str, str] | None:
    """Of pytest.raises: nothing was refused, or not with these words; or something was, and should not have been."""
    wanted = _wanted_words(statement)
    if message.startswith("DID NOT RAISE"):
        return {"came out": "an answer", "should have": f"a refusal{f' that says {wanted}' if wanted else ''}"}
    actual = re.search(r"(?:Actual message|Input): '?(.+?)'?$", message, re.MULTILINE | re.DOTALL)
    pattern = re.search(r"(?:Expected regex|Regex): '?(.+?)'?$", message, re.MULTILINE)
    if pattern and actual:
        return {"came out": f"a refusal that says: {actual[1]}", "should have": f"one that says {pattern[1]}"}
    if kind == "Refused":
        return {"came out": f"a refusal: {message}", "should have": "an answer, or a claim that it does not take this"}
    return None


def _assertion(message: str, kind: str, statement: ast.stmt | None) -> dict[str, str] | None:
    """Of an assert: the values that were compared, and the words that the test adds."""
    if kind != "AssertionError" or not isinstance(statement, ast.Assert):
        return None
    before, _, after = f"\n{message}".rpartition("\nassert ")
    note, seen = (before, after) if before or after else (message, "")
    compared = COMPARED.match(f"assert {seen.splitlines()[0] if seen else ''}")
    source = ast.unparse(statement.test)
    note = "" if re.fullmatch(r"\(.*\)|\w*", note.strip()) else note.strip()
    if compared is None or not isinstance(statement.test, ast.Compare):
        # What a denial adds is what was found, and else what should be.
        found = note if note and isinstance(statement.test, ast.UnaryOp) else f"not so: {note or source}"
        return {"came out": found, "should have": "as the line says"}
    named = statement.test.left
    measure = MEASURES.get(named.func.id) if isinstance(named, ast.Call) and isinstance(named.func, ast.Name) else None
    value, relation = compared["left"], RELATIONS[compared["relation"]]
    return {
        "came out": measure.format(value) if measure else f"{ast.unparse(named)} is {value}",
        "should have": f"{relation} {compared['right']}".strip(),
        "that is": note,
    }


def _wanted_words(statement: ast.stmt | None) -> str:
    calls = [node for node in ast.walk(statement) if isinstance(node, ast.keyword)] if statement else []
    return next((ast.unparse(node.value) for node in calls if node.arg == "match"), "")


def _source(statement: ast.stmt | None) -> str:
    return ast.unparse(statement) if statement else ""


def _short(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 3]}..."
