"""A process that measures when it is told to: `python -m attention_jax.bench.worker PROCESS KIND`.

Orders come as lines of JSON on stdin, an answer each goes to stdout, and the process ends with its stdin:

  {"do": "prepare", "case": {...}}  ->  {"digest": [[...]], "about": {...}}, or {"left_out": "why"}
  {"do": "sample", "case": {...}}   ->  {"value": 12.3, ...}
  {"do": "forget"}                  ->  {}

The first line that it writes is its environment, or why there is none.
"""

import importlib
import itertools
import json
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TextIO, get_args

from attention_jax.bench.cases import Case, Kind, LeftOut, Measured, Process
from attention_jax.bench.decodes import DecodeCase
from attention_jax.bench.steps import StepCase
from attention_jax.bench.timing import Ready

CASES: dict[Kind, Callable[..., Measured]] = {"attention": Case, "step": StepCase, "decode": DecodeCase}
# Of each kind of case: what measures it with JAX, and with PyTorch.
SIDES: dict[Kind, tuple[str, str]] = {
    "attention": ("jax_side", "torch_side"),
    "step": ("step_jax", "step_torch"),
    "decode": ("decode_jax", "decode_torch"),
}


class Worker:
    """Carries out orders with the modules of one side."""

    def __init__(self, side: ModuleType, kind: Kind):
        self._side = side
        self._case = CASES[kind]
        self._ready: dict[Measured, Ready] = {}
        self.orders: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "prepare": self._prepare,
            "sample": self._sample,
            "forget": self._forget,
        }

    def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carries out an order; a case that cannot be measured is an answer."""
        return answered(lambda: self.orders[order["do"]](order))

    def _prepare(self, order: dict[str, Any]) -> dict[str, Any]:
        case = self._case(**order["case"])
        ready = self._ready[case] = self._side.prepare(case)
        return {"digest": ready.digest, "about": ready.about}

    def _sample(self, order: dict[str, Any]) -> dict[str, Any]:
        return self._ready[self._case(**order["case"])].sample()

    def _forget(self, order: dict[str, Any]) -> dict[str, Any]:
        self._ready.clear()
        return {}


def answered(carry_out: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns what `carry_out` returns, or why it cannot be done here."""
    try:
        return carry_out()
    except LeftOut as reason:
        return {"left_out": str(reason)}


def serve(process: Process, kind: Kind, orders: TextIO, answers: TextIO) -> None:
    """Answers orders until there are no more."""

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    with_jax, with_torch = SIDES[kind]
    side = importlib.import_module(f"attention_jax.bench.{with_torch if process == 'torch' else with_jax}")
    say(answered(lambda: {"environment": side.start(process)}))
    worker = Worker(side, kind)
    for line in orders:
        say(worker.answer(json.loads(line)))


if __name__ == "__main__":
    known = (get_args(Process), get_args(Kind))
    if sys.argv[1:] not in [list(words) for words in itertools.product(*known)]:
        sys.exit(f"usage: python -m attention_jax.bench.worker {' '.join('{' + ','.join(one) + '}' for one in known)}")
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.argv[1], sys.argv[2], sys.stdin, answers)  # type: ignore[arg-type]
