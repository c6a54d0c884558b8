"""`launch.py` with a training step that does not return: `python -m tests.launch.stuck HOW STEP WORDS ...`.

The step of that number, counted in this process from 1, waits in C for a lock that it holds itself, and no signal
interrupts it ("deaf"); or it waits in Python, which hears signals, and the process waits in C when it exits ("exit"),
as JAX does for a step that is at work.
"""

import atexit
import ctypes
import itertools
import sys
import time
from typing import Any

import launch
from attention_jax.training import Experiment
from attention_jax.training.run import watch

LIBC = ctypes.CDLL(None)
# More than a pthread_mutex_t takes; zeros are one that is free.
LOCK = ctypes.create_string_buffer(128)


def wait_in_c() -> None:
    """Never returns."""
    LIBC.pthread_mutex_lock(LOCK)
    LIBC.pthread_mutex_lock(LOCK)


def wait_in_python() -> None:
    """Never returns, and neither does the exit of the process."""
    atexit.register(wait_in_c)
    while True:
        time.sleep(0.1)


def main(how: str, stuck_at: int, words: list[str]) -> int:
    """Runs the command; waiting is made short, so that a test is."""
    watch.HINT_SECONDS, watch.SLOW_SECONDS, watch.SLOW_FIRST_SECONDS, watch.LOOK_SECONDS = 1.0, 1.0, 2.0, 0.1
    # Compiling asks for the step too, before the first one is taken.
    step_for, numbers = Experiment.step_for, itertools.count(0)

    def stuck(experiment: Experiment, batch: dict[str, Any]) -> Any:
        if next(numbers) == stuck_at:
            {"deaf": wait_in_c, "exit": wait_in_python}[how]()
        return step_for(experiment, batch)

    Experiment.step_for = stuck
    return launch.main(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
