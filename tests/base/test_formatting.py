"""Times, sizes and rates as people read them."""

import pytest

from attention_jax.base.formatting import memory, milliseconds, readable_rate, readable_seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (200, "3m20s"),
        (3599.6, "1h00m"),
        (3900, "1h05m"),
        (90000, "25h00m"),
    ],
)
def test_seconds_for_people(seconds, text):
    assert readable_seconds(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(12, "12 B"), (1024, "1.0 KiB"), (3 * 2**20, "3.0 MiB"), (123.4 * 2**20, "123 MiB"), (1.5 * 2**30, "1.5 GiB")],
)
def test_memory_in_units_for_people(size, text):
    assert memory(size) == text


def test_milliseconds():
    assert [milliseconds(value) for value in (0.5, 9.876, 20.0, 1234.5)] == ["0.50", "9.88", "20.00", "1234"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5 FLOP"), (950, "950 FLOP"), (12345, "12.3k FLOP"), (4.56e9, "4.56G FLOP"), (1.5e15, "1.5P FLOP")],
)
def test_rates_for_people(value, text):
    assert readable_rate(value, "FLOP") == text
