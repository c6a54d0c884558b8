"""`launch.py check FILE.py:FUNCTION`: runs the contract on an attention and says, line by line, what it holds.

The lines are the tests of attention_jax/contract, in the words of their names; another process runs them with pytest.
"""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.cli.contract_plugin import EVENTS, SPEC
from attention_jax.training import Progress

PACKAGE = Path(__file__).resolve().parents[1]
# What the tests need that the package does not.
NEEDED = ("pytest", "beartype")
# Imports the file in a process of its own, whatever it does there, and says what it raised. Prints the kind of a spec,
# and the spec itself, which has the options of its claim `tried` where it says none.
LOOKUP = """
import sys
from attention_jax.layers.kinds import kind_of
from attention_jax.kernels.specs import parse_spec
sys.excepthook = lambda kind, error, trace: print(f"{kind.__name__}: {error}", file=sys.stderr)
spec = sys.argv[1].strip()
kind = kind_of(spec)
chosen = kind.choose(spec)
tried = "" if parse_spec(spec)[1] else (chosen.claims.tried or "").partition(":")[2]
print(kind.name)
print(f"{spec.rstrip(':')}:{tried}" if tried else spec)
"""
# The folder of the contract that a kind is held to: that of variants is the whole one, without its folders.
FOLDERS = {
    "attention variant": "",
    "mixer": "mixers",
    "position encoding": "positions",
    "pooling": "pooling",
    "pair": "pairs",
}


@dataclass
class Line:
    """One line of the contract.

    Attributes:
      words: what holds.
      passed: how many cases did.
      failures: of each case that failed, its name, and "tried", "came out" and "should have" in words.
      reasons: why cases were not run.
    """

    words: str
    passed: int = 0
    failures: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """How many were run."""
        return self.passed + len(self.failures)

    def __str__(self) -> str:
        if not self.cases:
            return f"  -       {self.words}: {'; '.join(dict.fromkeys(self.reasons)) or 'not run'}"
        verdict = "FAILED" if self.failures else "ok"
        cases = f" ({self.cases} cases)" if self.cases > 1 else ""
        return "\n".join([f"  {verdict:<7} {self.words}{cases}", *self._told()])

    def _told(self) -> Iterator[str]:
        """Yields what failed, once for all cases that should have come out alike, in the words of the first."""
        alike: dict[str, list[tuple[str, dict[str, str]]]] = {}
        for case, said in self.failures:
            alike.setdefault(said.get("should have", ""), []).append((case, said))
        for (first, said), *others in alike.values():
            tried = ", ".join(filter(None, (first, said.get("tried"))))
            for label, words in ({"tried": tried} | {k: v for k, v in said.items() if k != "tried"}).items():
                if words:
                    yield f"            {label + ':':<12} {words}"
            if others:
                yield f"            {'also of:':<12} {', '.join(case for case, _ in others)}"


@dataclass
class Chapter:
    """The lines of one file.

    Attributes:
      about: what the file says of itself.
      lines: by the name of the test, in the order of the file.
    """

    about: str
    lines: dict[str, Line]


def check(spec: str, *, only: list[str] | None, contract: Path = PACKAGE / "contract") -> bool:
    """Runs the contract of its kind on what a spec chooses and prints a verdict for each line.

    Args:
      spec: such as "my_file.py:my_attention:window=8".
      only: files of the contract, without "test_" and ".py"; None for all.
      contract: the folder of its tests.

    Returns:
      Whether every line that applies holds.

    Raises:
      Refused: it cannot be made, or what runs the tests is not installed.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        way_out = f"{sys.executable} -m pip install {' '.join(missing)}"
        raise Refused(f"check needs {' and '.join(missing)}, not installed here: {way_out}")
    kind, tried = _looked_up(spec)
    folder = FOLDERS[kind]
    files = _files(contract / folder, only)
    chapters = {path.name: _chapter(path) for path in files}
    progress = Progress()
    if tried != spec:
        print(f"{spec} is tried as {tried}: with these options it does at a few tokens what it is for.\n")
    progress.say(f"{tried}: the contract's tests in {len(files)} files, a minute for all of them")
    cases, done, start = 0, 0, time.monotonic()
    for event in _events(tried, files, contract):
        if "collected" in event:
            cases, start = event["collected"], time.monotonic()
            continue
        _note(chapters, event, spec=tried)
        done += event["outcome"] != "skipped"
        rate = done / (time.monotonic() - start)
        progress.update(step=done, steps=cases, rate=rate, values={})
    progress.clear()
    return _print_verdict(tried, chapters, tests=".".join(filter(None, ("attention_jax.contract", folder))))


def _files(contract: Path, only: list[str] | None) -> list[Path]:
    there = {path.stem.removeprefix("test_"): path for path in sorted(contract.glob("test_*.py"))}
    for name in only or ():
        if name not in there:
            raise Refused(f"the contract has no part {name!r}.{did_you_mean(name, there)}")
    return [there[name] for name in only or there]


def _looked_up(spec: str) -> tuple[str, str]:
    """Returns the name of the kind of a spec, and the spec to try; refuses what cannot be made, whatever it raises."""
    path = spec.partition(".py:")[0] if ".py:" in spec else ""
    if not re.fullmatch(r"[\w./ -]*", path):
        raise Refused(f"{spec!r}: the tests look for its name in messages, so its path may hold no signs but . / - _.")
    made = subprocess.run(
        [sys.executable, "-c", LOOKUP, spec], env=_environment(), capture_output=True, text=True, check=False
    )
    if made.returncode:
        said = " ".join(made.stderr.split()) or f"it ended Python with code {made.returncode}"
        raise Refused(said.removeprefix("Refused: ") if said.startswith("Refused: ") else f"{spec}: {said}")
    kind, tried = made.stdout.splitlines()[-2:]
    return kind, tried


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path}


def _chapter(path: Path) -> Chapter:
    tree = ast.parse(path.read_text())
    tests = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return Chapter(
        about=(ast.get_docstring(tree) or path.stem).partition("\n")[0],
        lines={name: Line(name.removeprefix("test_").replace("_", " ")) for name in tests},
    )


def _events(spec: str, files: list[Path], contract: Path) -> Iterator[dict[str, Any]]:
    """Runs the tests and yields what the plugin tells.

    Raises:
      Refused: pytest could not run them.
    """
    reading, writing = os.pipe()
    command = [
        *(sys.executable, "-m", "pytest", *map(str, files), "-p", "attention_jax.cli.contract_plugin"),
        *("-p", "no:cacheprovider", "--tb=long", "-c", os.devnull, "--rootdir", str(contract)),
    ]
    environment = {**_environment(), SPEC: spec, EVENTS: str(writing)}
    with tempfile.TemporaryFile("w+") as log:
        with subprocess.Popen(command, env=environment, stdout=log, stderr=log, pass_fds=[writing]) as process:
            os.close(writing)
            with os.fdopen(reading) as lines:
                yield from map(json.loads, lines)
        # 0 all passed, 1 some failed, 5 there was nothing to run.
        if process.returncode not in (0, 1, 5):
            log.seek(0)
            said = [line.strip() for line in log if line.strip()] or ["it said nothing"]
            reason = [*said[-1:], *(line.removeprefix("E ").strip() for line in said if line.startswith("E "))][-1]
            raise Refused(f"{spec}: pytest ended with code {process.returncode} before the contract: {reason}")


def _note(chapters: dict[str, Chapter], event: dict[str, Any], *, spec: str) -> None:
    file, _, name = event["test"].rpartition("/")[2].partition("::")
    line = chapters[file].lines[name]
    if event["outcome"] == "passed":
        line.passed += 1
    elif event["outcome"] == "failed":
        line.failures.append((event["case"].replace(spec, "").strip("-"), event["said"]))
    else:
        line.reasons.append(event["said"])


def _print_verdict(spec: str, chapters: dict[str, Chapter], *, tests: str) -> bool:
    for chapter in chapters.values():
        print(chapter.about, *chapter.lines.values(), "", sep="\n")
    lines = [line for chapter in chapters.values() for line in chapter.lines.values()]
    failed = sum(bool(line.failures) for line in lines)
    apply = sum(line.cases > 0 for line in lines)
    print(f"{spec}: {apply - failed} of {apply} lines hold, {len(lines) - apply} do not apply.")
    if failed:
        print(f"more of a failure: {SPEC}={spec} python -m pytest --pyargs {tests}")
    return not failed
