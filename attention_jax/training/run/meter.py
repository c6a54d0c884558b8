"""How fast a run goes: its time between two records, cut into windows, and what was done in it."""

import time
from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """The steps between two records; evaluation, saving, compiling and the start and end of a trace are left out.

    Attributes:
      steps: how many.
      seconds: how long they took.
      waited: the part of it in which the loop waited for the next batch and put it on the devices.
      tokens: how many there were in their batches; 0 where batches have none.
      flops: their multiplications and additions.
    """

    steps: int
    seconds: float
    waited: float
    tokens: int
    flops: int


class Meter:
    """The windows of a run; those of before a kill are put in by `windows`."""

    def __init__(self) -> None:
        self.windows: list[Window] = []
        self.start()

    def start(self) -> None:
        """Begins a window."""
        self._began = time.perf_counter()
        self._steps, self._waited, self._tokens, self._flops = 0, 0.0, 0, 0

    def step(self, *, waited: float, tokens: int, flops: int) -> None:
        """Adds a step to the window."""
        self._steps += 1
        self._waited += waited
        self._tokens += tokens
        self._flops += flops

    def leave_out(self, seconds: float) -> None:
        """Takes from the window what was spent on something else."""
        self._began += seconds

    def stop(self) -> Window:
        """Ends the window and keeps it."""
        seconds = time.perf_counter() - self._began
        self.windows.append(Window(self._steps, seconds, self._waited, self._tokens, self._flops))
        return self.windows[-1]

    @property
    def seconds(self) -> float:
        """The time of all steps."""
        return sum(window.seconds for window in self.windows)

    @property
    def ms_per_step(self) -> float:
        """The median over the windows, in milliseconds."""
        return median(self._milliseconds)

    @property
    def ms_per_step_spread(self) -> float | None:
        """How far the quartiles of the windows are apart, in milliseconds; None of a single window.

        Not the standard deviation: one window in which the machine was busy would be most of it.
        """
        if len(self.windows) < 2:
            return None
        low, _, high = quantiles(self._milliseconds, n=4, method="inclusive")
        return high - low

    @property
    def _milliseconds(self) -> list[float]:
        return [1000 * window.seconds / window.steps for window in self.windows]

    @property
    def steps_per_second(self) -> float:
        """The median over the windows."""
        return median(window.steps / window.seconds for window in self.windows)

    @property
    def tokens_per_second(self) -> float | None:
        """The median over the windows; None where batches have no tokens."""
        return median(window.tokens / window.seconds for window in self.windows) or None

    @property
    def flops_per_step(self) -> float:
        """The mean over the steps, whose batches may be of several lengths."""
        return sum(window.flops for window in self.windows) / sum(window.steps for window in self.windows)

    @property
    def flops_per_second(self) -> float:
        """The median over the windows."""
        return median(window.flops / window.seconds for window in self.windows)

    @property
    def input_share(self) -> float:
        """The share of the time in which the loop waited for batches; the devices may have been at work meanwhile."""
        return sum(window.waited for window in self.windows) / self.seconds


def tokens_of(batch: Mapping[str, np.ndarray], reads: Sequence[str]) -> int:
    """Returns how many tokens a batch holds; 0 where it holds none.

    Args:
      batch: named arrays, each [B, ...]. Padding is left out where "segments" [B, T] tell it (as 0), or "lengths" [B],
        or for an array "source" "source_lengths" [B], for "inputs" "target_lengths"; it counts else.
      reads: the arrays that the model needs; those that hold whole numbers, [B, T], are tokens; of [B, T, S], S of them
        at one place, each place counts once.
    """
    return sum(_tokens_in(batch, name) for name in reads)


def _tokens_in(batch: Mapping[str, np.ndarray], name: str) -> int:
    array = batch[name]
    if array.ndim not in (2, 3) or not np.issubdtype(array.dtype, np.integer):
        return 0
    if "segments" in batch:
        return int(np.count_nonzero(batch["segments"]))
    # The inputs of a decoder are its targets, moved by one.
    for lengths in (f"{name}_lengths", "lengths", *(["target_lengths"] if name == "inputs" else [])):
        if lengths in batch:
            return int(batch[lengths].sum())
    return array.shape[0] * array.shape[1]
