"""When a step counts as slow: against those before it, one at a time or queued, and the first one alone."""

import pytest

from attention_jax.training.run import watch
from attention_jax.training.run.watch import Pulse


@pytest.fixture
def clock(monkeypatch):
    """`clock(seconds)` lets so many seconds pass."""
    now = [100.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    return passes


def run(pulse: Pulse, clock, *, steps: int, seconds: float) -> None:
    for step in range(pulse.step + 1, pulse.step + steps + 1):
        pulse.begin(step)
        clock(seconds)


def test_the_first_step_has_two_minutes(clock):
    pulse = Pulse()
    assert pulse.slowness() is None
    pulse.begin(1)
    clock(119)
    assert pulse.slowness() is None
    clock(2)
    assert pulse.slowness() == "2m01s so far, and none has returned yet"


@pytest.mark.parametrize(("usual", "limit"), [(0.01, 10), (2.0, 40)])
def test_a_later_one_twenty_times_the_median_and_ten_seconds_at_least(clock, usual, limit):
    pulse = Pulse()
    run(pulse, clock, steps=20, seconds=usual)
    pulse.begin(21)
    clock(limit - 0.1)
    assert pulse.slowness() is None
    clock(0.2)
    assert pulse.slowness() == f"{limit}s so far, and the median of those before it is {usual:.3g} s"


def test_what_comes_between_two_steps_is_none(clock):
    pulse = Pulse()
    run(pulse, clock, steps=5, seconds=1.0)
    pulse.rest()
    clock(1000)
    assert pulse.slowness() is None
    assert pulse.describe() == "what comes after step 5"
    pulse.begin(6)
    assert pulse.slowness() is None
    assert pulse.describe() == "step 6"


def test_steps_that_queue_are_waited_for_together(clock):
    pulse = Pulse(one_at_a_time=False)
    pulse.begin(1)
    clock(3)
    pulse.rest()
    for _ in range(2):
        # Dispatched at once; a hundred take 300 seconds, which is when the last returns.
        run(pulse, clock, steps=100, seconds=0.0)
        clock(300)
        assert pulse.slowness() is None
        pulse.rest()
    run(pulse, clock, steps=100, seconds=0.0)
    clock(99 * 3 + 60.1)
    assert pulse.slowness() == "5m57s so far, and the median of those before it is 3 s"
