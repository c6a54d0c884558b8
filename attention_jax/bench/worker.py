"""A process that measures when it is told to: `python -m attention_jax.bench.worker PROCESS`.

Orders come as lines of JSON on stdin, an answer each goes to stdout, and the process ends with its stdin:

  {"do": "prepare", "case": {...}}  ->  {"digest": [[...]], "about": {...}}, or {"left_out": "why"}
  {"do": "sample", "case": {...}}   ->  {"value": 12.3, ...}
  {"do": "forget"}                  ->  {}

The first line that it writes is its environment, or why there is none.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TextIO, get_args

from attention_jax.bench.cases import Case, LeftOut, Process
from attention_jax.bench.timing import Ready

SIDES: dict[Process, str] = {"one_device": "jax_side", "all_cores": "jax_side", "torch": "torch_side"}


class Worker:
    """Carries out orders with the modules of one side."""

    def __init__(self, side: ModuleType):
        self._side = side
        self._ready: dict[Case, Ready] = {}
        self.orders: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "prepare": self._prepare,
            "sample": self._sample,
            "forget": self._forget,
        }

    def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carries out an order; a case that cannot be measured is an answer."""
        return answered(lambda: self.orders[order["do"]](order))

    def _prepare(self, order: dict[str, Any]) -> dict[str, Any]:
        case = Case(**order["case"])
        ready = self._ready[case] = self._side.prepare(case)
        return {"digest": ready.digest, "about": ready.about}

    def _sample(self, order: dict[str, Any]) -> dict[str, Any]:
        return self._ready[Case(**order["case"])].sample()

    def _forget(self, order: dict[str, Any]) -> dict[str, Any]:
        self._ready.clear()
        return {}


def answered(carry_out: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns what `carry_out` returns, or why it cannot be done here."""
    try:
        return carry_out()
    except LeftOut as reason:
        return {"left_out": str(reason)}


def serve(process: Process, orders: TextIO, answers: TextIO) -> None:
    """Answers orders until there are no more."""

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    side = importlib.import_module(f"attention_jax.bench.{SIDES[process]}")
    say(answered(lambda: {"environment": side.start(process)}))
    worker = Worker(side)
    for line in orders:
        say(worker.answer(json.loads(line)))


if __name__ == "__main__":
    if sys.argv[1:] not in [[process] for process in get_args(Process)]:
        sys.exit(f"usage: python -m attention_jax.bench.worker {{{','.join(get_args(Process))}}}")
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.argv[1], sys.stdin, answers)  # type: ignore[arg-type]
