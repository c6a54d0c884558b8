"""The first signal is noted, the second stops at once, and afterwards signals are what they were."""

import os
import signal
import socket
import threading

import pytest

from attention_jax.training.run.interrupt import noticed


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
    with pytest.raises(KeyboardInterrupt) as stopped:
        twice()
    assert stopped.value.signum == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before


def test_whoever_was_told_of_signals_before_is_told_again_and_no_thread_and_no_file_stay():
    mine, theirs = socket.socketpair()
    theirs.setblocking(False)
    files = len(os.listdir("/proc/self/fd"))
    before = signal.set_wakeup_fd(theirs.fileno())
    try:
        threads = threading.active_count()
        with noticed():
            assert threading.active_count() == threads + 1
        assert threading.active_count() == threads
        assert len(os.listdir("/proc/self/fd")) == files
    finally:
        assert signal.set_wakeup_fd(before) == theirs.fileno()
        mine.close()
        theirs.close()
