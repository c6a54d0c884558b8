"""The first signal is noted, the second stops at once, and afterwards signals are what they were."""

import os
import signal

import pytest

from attention_jax.training.interrupt import noticed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted(number):
    before = signal.getsignal(number)
    with noticed() as notice:
        assert notice.signum is None
        os.kill(os.getpid(), number)
        assert notice.signum == number
    assert signal.getsignal(number) is before


def twice() -> None:
    with noticed():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)


def test_the_second_stops_at_once():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        twice()
    assert signal.getsignal(signal.SIGINT) is before
