"""A group of worker processes that are alive together and compute one at a time, each when it is asked.

The cases of a group are of one kind.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from attention_jax.bench.cases import Kind, LeftOut, Measured, Process


class WorkerEnded(Exception):
    """A worker process ended by itself; the message says how."""


class Group:
    """Starts the workers that are asked for, passes orders to them in turn, and ends them.

    Attributes:
      name: what the record calls it.
    """

    def __init__(self, name: str, *, logs: Path, started: Callable[..., None]):
        """Makes a group without workers.

        Args:
          name: of the group.
          logs: a folder; what each worker writes to stderr goes into a file there.
          started: is called with `process`, `pid` and `environment` of each worker that is ready.
        """
        self.name = name
        self._logs = logs
        self._started = started
        self._workers: dict[Process, subprocess.Popen[str]] = {}

    def __enter__(self) -> "Group":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers.values():
            worker.kill()
            worker.communicate()

    def ask(self, case: Measured, do: str) -> dict[str, Any]:
        """Has the worker of a case carry out an order and returns its answer.

        Raises:
          LeftOut: the case cannot be measured here.
          WorkerEnded: the worker is gone.
        """
        worker = self._workers.get(case.process) or self._start(case.process, case.kind)
        return self._exchange(case.process, worker, {"do": do, "case": case.to_json()})

    def forget(self) -> None:
        """Has every worker let go of what it prepared."""
        for process, worker in self._workers.items():
            self._exchange(process, worker, {"do": "forget"})

    def _start(self, process: Process, kind: Kind) -> subprocess.Popen[str]:
        package = Path(__file__).resolve().parents[2]
        path = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH", ""))))
        with self._log(process).open("w") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "attention_jax.bench.worker", process, kind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path, "JAX_TRACEBACK_FILTERING": "off"},
                text=True,
            )
        self._workers[process] = worker
        said = self._exchange(process, worker, None)
        self._started(process=process, pid=worker.pid, environment=said["environment"])
        return worker

    def _exchange(
        self, process: Process, worker: subprocess.Popen[str], order: dict[str, Any] | None
    ) -> dict[str, Any]:
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            if order is not None:
                worker.stdin.write(json.dumps(order) + "\n")
                worker.stdin.flush()
            line = worker.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerEnded(self._last_words(process, worker))
        answer = json.loads(line)
        if "left_out" in answer:
            raise LeftOut(answer["left_out"])
        return answer

    def _last_words(self, process: Process, worker: subprocess.Popen[str]) -> str:
        code = worker.wait()
        lines = [line for line in self._log(process).read_text().splitlines() if line.strip()]
        raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
        last = (raised or lines or ["it said nothing"])[-1].strip()
        how = f"signal {-code}" if code < 0 else f"code {code}"
        return f"the worker {process} ended with {how}: {last} (all of it: {self._log(process)})"

    def _log(self, process: Process) -> Path:
        return self._logs / f"{self.name}-{process}.log"
