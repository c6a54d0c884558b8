"""Means, intervals and verdicts, against numbers worked out by hand and against scipy."""

import math

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from attention_jax.study.statistics import estimate, paired, quantile

# From a printed table of Student's t, two-sided 95%.
TABLE = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 10: 2.262, 31: 2.042}


@pytest.mark.parametrize(("count", "value"), TABLE.items())
def test_quantiles_are_those_of_the_printed_table(count, value):
    assert quantile(count) == pytest.approx(value, abs=5e-4)


def test_two_seeds_by_hand():
    # mean 0.6, s = 0.2 / sqrt(2), standard error s / sqrt(2) = 0.1, times 12.706
    found = estimate([0.5, 0.7])
    assert found.mean == pytest.approx(0.6)
    assert found.half_width == pytest.approx(1.2706, abs=1e-4)
    assert found.seeds == 2


def test_five_seeds_by_hand():
    # mean 3, s^2 = (4 + 1 + 0 + 1 + 4) / 4 = 2.5, standard error sqrt(2.5 / 5) = 0.70711, times 2.776
    found = estimate([1, 2, 3, 4, 5])
    assert (found.mean, found.seeds) == (3.0, 5)
    assert found.half_width == pytest.approx(1.9632, abs=1e-4)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12).filter(lambda values: max(values) - min(values) > 1e-3))
def test_the_interval_is_scipys(values):
    found = estimate(values)
    low, high = scipy.stats.t.interval(
        0.95, len(values) - 1, loc=sum(values) / len(values), scale=scipy.stats.sem(values)
    )
    assert found.mean - found.half_width == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert found.mean + found.half_width == pytest.approx(high, rel=1e-9, abs=1e-9)


def test_one_seed_has_no_interval():
    assert estimate([0.5]).half_width is None
    assert estimate([0.5]).mean == 0.5


def test_equal_seeds_have_an_interval_of_no_width():
    assert estimate([0.25, 0.25, 0.25]).half_width == 0.0


def test_the_mean_of_nothing_does_not_exist():
    with pytest.raises(ValueError, match="no values"):
        estimate([])


def test_pairing_removes_what_the_seed_does_to_both():
    # The seeds differ by far more than the variants, yet each seed moves both alike: 0.02, 0.03, 0.04.
    reference = {0: 0.10, 1: 0.50, 2: 0.90}
    scores = {0: 0.12, 1: 0.53, 2: 0.94}
    found = paired(scores, reference, metric="test_accuracy")
    assert found.difference.mean == pytest.approx(0.03)
    assert found.difference.half_width == pytest.approx(4.303 * 0.01 / math.sqrt(3), abs=1e-5)
    assert found.verdict == "better"


def test_the_paired_verdict_is_that_of_scipys_paired_test():
    reference = {seed: value for seed, value in enumerate([0.61, 0.64, 0.60, 0.66])}
    for shift, spread in [(0.05, 0.01), (0.02, 0.03), (-0.03, 0.01), (0.001, 0.01)]:
        scores = {seed: value + shift + spread * (-1) ** seed for seed, value in reference.items()}
        p_value = scipy.stats.ttest_rel(list(scores.values()), list(reference.values())).pvalue
        found = paired(scores, reference, metric="test_accuracy")
        assert (found.verdict != "not separated") == (p_value < 0.05), (shift, spread)


@pytest.mark.parametrize(
    ("metric", "shift", "verdict"),
    [
        ("test_accuracy", 0.1, "better"),
        ("test_accuracy", -0.1, "worse"),
        ("validation_loss", 0.1, "worse"),
        ("validation_loss", -0.1, "better"),
    ],
)
def test_the_direction_of_the_metric_decides_what_is_better(metric, shift, verdict):
    reference = {0: 0.50, 1: 0.51, 2: 0.52}
    scores = {0: 0.501 + shift, 1: 0.509 + shift, 2: 0.52 + shift}
    assert paired(scores, reference, metric=metric).verdict == verdict


def test_two_seeds_hardly_separate_anything():
    # A gain of 10 and 12 points, which two seeds cannot tell from chance: 0.11 ± 0.127.
    found = paired({0: 0.60, 1: 0.62}, {0: 0.50, 1: 0.50}, metric="test_accuracy")
    assert found.difference.half_width == pytest.approx(0.12706, abs=1e-5)
    assert found.verdict == "not separated"


def test_only_shared_seeds_are_compared():
    found = paired({0: 0.6, 1: 0.7, 5: 0.0}, {0: 0.5, 1: 0.6, 2: 1.0}, metric="test_accuracy")
    assert found.difference.seeds == 2
    assert found.difference.mean == pytest.approx(0.1)


def test_one_shared_seed_allows_no_verdict_and_none_no_comparison():
    assert paired({0: 0.9}, {0: 0.1}, metric="test_accuracy").verdict == "one seed"
    assert paired({0: 0.9}, {1: 0.1}, metric="test_accuracy") is None


def test_the_same_scores_are_not_separated():
    scores = {0: 0.3, 1: 0.4, 2: 0.7}
    assert paired(scores, dict(scores), metric="test_accuracy").verdict == "not separated"
