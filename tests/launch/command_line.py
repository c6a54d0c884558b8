"""`launch.py` in a process of its own, started in the root of the repository as a user would."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

RECALL: dict[str, Any] = {
    "data": {
        "name": "mqar",
        "vocabulary_size": 16,
        "length": 8,
        "pairs": 2,
        "train_examples": 96,
        "validation_examples": 32,
        "test_examples": 32,
    },
    "task": {"name": "token_prediction"},
    "model": {"name": "gpt", "num_layers": 1, "num_heads": 2, "width": 16},
    "optimizer": {"name": "adamw", "learning_rate": 1e-3},
    "batch_size": 16,
    "steps": 40,
    "evaluation": {"every": 10},
    "checkpoint": {"every": 7},
    "log": {"every": 1},
}


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit code, negative when a signal ended it, and what it said."""

    code: int
    out: str
    err: str


def launch(*words: object, environment: dict[str, str] | None = None, folder: Path = ROOT) -> Answer:
    """Runs `launch.py` with these words to its end."""
    process = start(*words, environment=environment, folder=folder)
    out, err = process.communicate(timeout=600)
    return Answer(process.returncode, out, err)


def start(*words: object, environment: dict[str, str] | None = None, folder: Path = ROOT) -> subprocess.Popen[str]:
    """Starts `launch.py` with these words in a folder, and variables set beside those of the tests."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "launch.py"), *map(str, words)],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def write_config(path: Path, sections: dict[str, Any]) -> str:
    """Writes a config file and returns the option that names it."""
    lines = (
        '"""Written by a test."""',
        "from ml_collections import ConfigDict",
        "def get_config():",
        f"    return ConfigDict({sections!r})",
    )
    path.write_text("\n".join(lines) + "\n")
    return f"--config={path}"


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Returns the values of a JSONL file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    """Returns every file below a folder, by relative path; a folder that does not exist has none."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
