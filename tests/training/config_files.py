"""What the tests of configs write into files."""

from typing import Any

MINIMAL: dict[str, Any] = {
    "data": {"name": "mqar", "length": 8, "pairs": 1},
    "task": {"name": "token_prediction"},
    "model": {"name": "gpt", "width": 16},
    "optimizer": {},
    "batch_size": 8,
    "steps": 10,
}


def minimal(**changes: Any) -> dict[str, Any]:
    """Returns the least that a config must say, with whole entries replaced; one that is `...` is left out."""
    return {key: value for key, value in {**MINIMAL, **changes}.items() if value is not ...}


def comparison(**changes: Any) -> dict[str, Any]:
    """Returns a comparison of one benchmark."""
    return {"variants": ("scaled_dot", "linear"), "benchmarks": {"recall": minimal()}, **changes}
