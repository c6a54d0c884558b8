"""A trace of some steps of a run, by JAX's profiler."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from attention_jax.base.errors import Refused


def parse_window(text: str, *, steps: int) -> range:
    """Returns the steps that "FIRST:END" says, of which END is none: "10:15" is steps 10 to 14, counted from 1.

    Args:
      text: what the user gave.
      steps: how many the run has.

    Raises:
      Refused: it is malformed, empty, or not within the run.
    """
    match = re.fullmatch(r"(\d+):(\d+)", text, re.ASCII)
    if match is None:
        raise Refused(f"--profile={text}: give FIRST:END, such as 10:15 for steps 10 to 14.")
    first, end = int(match[1]), int(match[2])
    if not 1 <= first < end:
        raise Refused(f"--profile={text} has no step: give FIRST:END with FIRST from 1 and END above it.")
    if end > steps + 1:
        raise Refused(f"--profile={text} goes past the last step, {steps}: give an END of at most {steps + 1}.")
    return range(first, end)


class Profile:
    """Traces the steps of a window; those outside it are as without."""

    def __init__(self, window: range, folder: Path, *, after_step: int, say: Callable[[str], None]):
        """Says what of the window is left to trace.

        Args:
          window: the steps, counted from 1.
          folder: where the trace goes.
          after_step: the step that the run goes on from.
          say: told where the trace is, and why there is none.
        """
        self._folder, self._say = folder, say
        self._window = range(max(window.start, after_step + 1), window.stop)
        self._tracing = False
        self._step: Any = None
        if self._window.start > window.start:
            left = f"{_steps(self._window)} are traced" if self._window else "nothing is traced"
            say(f"the run goes on after step {after_step}, past the start of --profile: {left}")
        # What is yet to come; emptied once it was said what became of it.
        self._due = bool(self._window)

    def before(self, step: int, state: Any) -> float:
        """Begins the trace if a step is the first, once the steps before it are done; returns the seconds it took."""
        if step not in self._window:
            return 0.0
        if not self._tracing:
            jax.block_until_ready(state)
        began = time.perf_counter()
        if not self._tracing:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._tracing = True
        self._step = jax.profiler.StepTraceAnnotation("train", step_num=step)
        self._step.__enter__()
        return time.perf_counter() - began

    def after(self, step: int, state: Any) -> float:
        """Ends the trace if a step was the last, once it is done; returns the seconds it took."""
        if step not in self._window:
            return 0.0
        self._step.__exit__(None, None, None)
        if step + 1 in self._window:
            return 0.0
        jax.block_until_ready(state)
        began = time.perf_counter()
        self._end(step)
        return time.perf_counter() - began

    def close(self, step: int) -> None:
        """Ends a trace that the end of the run at `step` cut short, and says if there was none."""
        if self._tracing:
            self._end(step)
        elif self._due:
            self._say(f"the run ended at step {step}, before --profile: nothing was traced")

    def _end(self, step: int) -> None:
        jax.profiler.stop_trace()
        self._tracing = self._due = False
        traces = max(self._folder.glob("plugins/profile/*"), key=lambda path: path.stat().st_mtime)
        self._say(
            f"{_steps(range(self._window.start, step + 1))} are traced: open {traces / 'perfetto_trace.json.gz'} at "
            f"https://ui.perfetto.dev, or run xprof --logdir={self._folder} (pip install xprof)"
        )


def _steps(window: range) -> str:
    return f"steps {window.start} to {window.stop - 1}"
