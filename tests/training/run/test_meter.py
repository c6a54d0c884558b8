"""The windows of a run and what is read off them, on a clock that is set by hand."""

import numpy as np
import pytest

from attention_jax.training.run.meter import Meter, Window, tokens_of


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time, in its one entry."""
    now = [50.0]
    monkeypatch.setattr("attention_jax.training.run.meter.time.perf_counter", lambda: now[0])
    return now


def test_a_window_is_the_steps_between_its_start_and_its_stop_without_what_is_left_out(clock):
    meter = Meter()
    clock[0] += 100
    meter.start()
    for seconds in (1.0, 3.0):
        meter.step(waited=0.25, tokens=10, flops=7)
        clock[0] += seconds
    meter.leave_out(0.5)
    assert meter.stop() == Window(steps=2, seconds=3.5, waited=0.5, tokens=20, flops=14)
    meter.start()
    clock[0] += 1.0
    meter.step(waited=0.0, tokens=1, flops=1)
    assert meter.stop() == Window(1, 1.0, 0.0, 1, 1)
    assert meter.windows == [Window(2, 3.5, 0.5, 20, 14), Window(1, 1.0, 0.0, 1, 1)]


def test_rates_are_medians_and_shares_are_of_the_whole():
    meter = Meter()
    meter.windows = [Window(2, 1.0, 0.1, 200, 40), Window(2, 2.0, 0.1, 300, 60), Window(1, 5.0, 0.6, 100, 10)]
    assert meter.seconds == 8
    assert meter.ms_per_step == 1000
    assert (meter.steps_per_second, meter.tokens_per_second, meter.flops_per_second) == (1.0, 150, 30)
    assert meter.flops_per_step == 110 / 5
    assert meter.input_share == pytest.approx(0.1)


def test_without_tokens_there_is_no_rate_of_them():
    meter = Meter()
    meter.windows = [Window(2, 1.0, 0.1, 0, 40)]
    assert meter.tokens_per_second is None


def test_tokens_are_counted_without_padding_where_it_is_told():
    tokens = np.zeros((2, 4), np.int32)
    assert tokens_of({"inputs": tokens}, ("inputs",)) == 8
    assert tokens_of({"inputs": tokens, "segments": np.array([[1, 1, 2, 0], [1, 0, 0, 0]])}, ("inputs",)) == 4
    assert tokens_of({"inputs": tokens, "lengths": np.array([3, 0])}, ("inputs",)) == 3
    pair = {"source": tokens, "target": tokens[:, :3], "source_lengths": np.array([4, 1])}
    assert tokens_of(pair, ("source", "target")) == 5 + 6
    pair = {"source": tokens, "inputs": tokens, "source_lengths": np.array([4, 1]), "target_lengths": np.array([2, 1])}
    assert tokens_of(pair, ("source", "source_lengths", "inputs")) == 5 + 3
    assert tokens_of({"inputs": np.stack([tokens, tokens], axis=2)}, ("inputs",)) == 8
    assert tokens_of({"image": np.zeros((2, 4, 4, 3), np.float32)}, ("image",)) == 0
    assert tokens_of({"features": np.zeros((2, 4), np.float32)}, ("features",)) == 0


def test_the_spread_of_a_step_is_between_the_quartiles_of_the_windows():
    meter = Meter()
    meter.windows = [Window(1, seconds, 0.0, 0, 0) for seconds in (0.010, 0.011, 0.012, 0.013, 9.0)]
    assert meter.ms_per_step_spread == pytest.approx(2.0)
    meter.windows = meter.windows[:1]
    assert meter.ms_per_step_spread is None
