"""Means and their intervals, against numbers worked out by hand, against scipy, and by what they cover."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.study.statistics.intervals import estimate, interval, intervals, quantile

# From a printed table of Student's t, two-sided 95%.
TABLE = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 10: 2.262, 31: 2.042}
SHARE = (0.0, 1.0)


@pytest.mark.parametrize(("count", "value"), TABLE.items())
def test_quantiles_are_those_of_the_printed_table(count, value):
    assert quantile(count) == pytest.approx(value, abs=5e-4)


def test_five_seeds_by_hand():
    # mean 3, s^2 = (4 + 1 + 0 + 1 + 4) / 4 = 2.5, standard error sqrt(2.5 / 5) = 0.70711, times 2.776
    found = estimate([1, 2, 3, 4, 5])
    assert (found.mean, found.seeds, found.without) == (3.0, 5, None)
    assert (found.low, found.high) == (pytest.approx(3 - 1.9632, abs=1e-4), pytest.approx(3 + 1.9632, abs=1e-4))


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12).filter(lambda values: max(values) - min(values) > 1e-3))
def test_without_bounds_the_interval_is_scipys(values):
    low, high = scipy.stats.t.interval(
        0.95, len(values) - 1, loc=sum(values) / len(values), scale=scipy.stats.sem(values)
    )
    assert interval(values) == (pytest.approx(low, rel=1e-9, abs=1e-9), pytest.approx(high, rel=1e-9, abs=1e-9))


def test_far_from_its_bounds_a_share_has_students_interval():
    assert interval([0.60, 0.61, 0.63], within=SHARE) == pytest.approx(interval([0.60, 0.61, 0.63]))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=10).filter(lambda values: max(values) - min(values) > 1e-6))
def test_an_interval_stays_within_the_bounds_and_holds_the_mean(values):
    low, high = interval(values, within=SHARE)
    assert 0 <= low <= np.mean(values) + 1e-12
    assert np.mean(values) - 1e-12 <= high <= 1


def test_near_a_bound_the_interval_is_that_of_the_gamma_distribution():
    # Distances 0.01, 0.02, 0.06 from 1: mean 0.03, s 0.0265, so within 2 s. 6 / chi2(0.025, 6) = 6 / 1.2373.
    low, high = interval([0.99, 0.98, 0.94], within=SHARE)
    assert low == pytest.approx(1 - 0.03 * 6 / 1.2373, abs=1e-4)
    assert high == 1.0  # Student's end, cut


def test_runs_at_the_bound_widen_the_interval():
    # Two runs at the bound: one event, 2 / chi2(0.025, 2) = 2 / 0.0506 = 39.5 times the mean distance 0.002.
    low, _ = interval([1.0, 1.0, 0.994], within=SHARE)
    assert low == pytest.approx(1 - 0.002 * 39.5, abs=1e-3)


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        ([0.5], "one seed"),
        ([1.0, 1.0, 1.0], "equal scores"),
        ([1.0, 0.3, 1.0], "too wide"),
        ([0.31, 0.30, 0.32], None),
    ],
)
def test_why_there_is_no_interval(runs, why):
    found = estimate(runs, within=SHARE)
    assert found.without == why
    assert ((found.low, found.high) == (None, None)) == (why is not None)
    assert found.runs == tuple(runs)


def test_a_task_that_is_solved_or_not_has_no_interval_of_the_mean():
    found = estimate([0.31, 0.30, 0.32], within=SHARE, solved_or_not=True)
    assert (found.low, found.without) == (None, "solved or not")


def test_the_mean_of_nothing_does_not_exist():
    with pytest.raises(ValueError, match="no values"):
        estimate([])


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("centre", [0.97, 0.99, 1.0, 1.01])
def test_under_a_ceiling_the_intervals_shown_cover(seeds, centre):
    """Normal scores cut at 1: Student's interval covers 85 to 92% of the time where it has a width at all."""
    random = np.random.default_rng(0)
    scores = np.minimum(1, centre + 0.02 * random.standard_normal((8000, seeds)))
    truth = np.minimum(1, centre + 0.02 * random.standard_normal(2_000_000)).mean()
    scores = scores[np.ptp(scores, axis=1) > 0]
    low, high = intervals(scores, within=SHARE)
    assert np.mean((low <= truth) & (truth <= high)) >= 0.94
