"""The clock of a worker."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# Long enough that the clock and the loop do not count, however short a call is.
SAMPLE_SECONDS = 5e-3
# A call shorter than this is made once, not counted, before each sample. What the contestant before held goes back to
# the system in the call after it: 0.3 s for the 4 GiB of dense attention at T = 16384.
SHORT_SECONDS = 2.0


@dataclass(frozen=True)
class Ready:
    """A case that is compiled and warm.

    Attributes:
      sample: takes one sample: its value, and what else a line should say of it.
      digest: numbers that tell its result from another, an inner list for each array; none where nothing is computed.
      about: what every line should say of it.
    """

    sample: Callable[[], dict[str, Any]]
    digest: list[list[float]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)


def timed(call: Callable[[], Any], *, at_least: float = SAMPLE_SECONDS) -> Callable[[], dict[str, Any]]:
    """Returns what times `call`, which ends when its result is there: milliseconds, averaged over `calls` in a row.

    `call` is warm; it is called once more here, to see how many calls make a sample of `at_least` seconds.
    """
    taken = seconds(call)
    calls = max(1, math.ceil(at_least / taken))

    def sample() -> dict[str, Any]:
        if taken < SHORT_SECONDS:
            call()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return {"value": 1e3 * (time.perf_counter() - start) / calls, "calls": calls}

    return sample


def per_step(sample: Callable[[], dict[str, Any]], steps: int) -> Callable[[], dict[str, Any]]:
    """Returns what samples the milliseconds of one of the `steps` that a call of `sample` makes."""

    def of_one() -> dict[str, Any]:
        taken = sample()
        return {**taken, "value": taken["value"] / steps}

    return of_one


def seconds(call: Callable[[], Any]) -> float:
    """Returns how long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
