"""Tasks that are solved or not."""

import numpy as np
import pytest
import scipy.stats

from attention_jax.study.statistics.solved import solved, steps_to_solve, threshold

SHARE = (0.0, 1.0)


def test_the_threshold_is_the_middle_of_the_empty_band():
    assert threshold([[1.0, 0.3, 0.98], [0.32, 0.31, 0.3]], within=SHARE) == pytest.approx((0.32 + 0.98) / 2)


@pytest.mark.parametrize(
    ("scores", "within"),
    [
        ([[1.0, 0.99], [0.3, 0.31]], SHARE),  # variants that differ, seeds that agree
        ([[0.5, 0.6, 0.7], [0.8, 0.9, 0.4]], SHARE),  # no gap
        ([[2.0, 9.0]], (0.0, np.inf)),  # a loss has no range
        ([[0.5], [0.9]], SHARE),
        ([[], [0.9]], SHARE),
        ([], SHARE),
    ],
)
def test_other_tasks_have_no_threshold(scores, within):
    assert threshold(scores, within=within) is None


@pytest.mark.parametrize(("count", "seeds"), [(0, 3), (2, 3), (3, 3), (7, 10), (0, 1)])
def test_the_interval_is_clopper_and_pearsons(count, seeds):
    found = solved([1.0] * count + [0.0] * (seeds - count), at=0.5, rising=True)
    low = scipy.stats.beta.ppf(0.025, count, seeds - count + 1) if count else 0
    high = scipy.stats.beta.ppf(0.975, count + 1, seeds - count) if count < seeds else 1
    assert (found.count, found.seeds) == (count, seeds)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_an_error_is_solved_from_above():
    assert solved([0.1, 0.9], at=0.2, rising=False).count == 1


def test_steps_to_solve():
    points = [(10, 0.2), (20, 0.96), (30, 0.9), (40, 0.99)]
    assert steps_to_solve(points, at=0.95, rising=True) == 20
    assert steps_to_solve(points, at=0.999, rising=True) is None
    assert steps_to_solve([(5, 2.0), (6, 0.1)], at=0.5, rising=False) == 6
    assert steps_to_solve([], at=0.5, rising=True) is None
