"""Over several benchmarks: ranks against scipy and published numbers, probabilities by what their interval covers."""

import math

import numpy as np
import pytest
import scipy.stats

from attention_jax.study.statistics.ranks import probability_of_better, ranks

# Demsar 2006, table 5: critical values q(0.05) of the two-tailed Nemenyi test.
NEMENYI = {2: 1.960, 3: 2.343, 5: 2.728, 10: 3.164}


def table(benchmarks, variants, *, seed=0):
    random = np.random.default_rng(seed)
    return {f"b{b}": {f"v{v}": float(random.normal(v)) for v in range(variants)} for b in range(benchmarks)}


@pytest.mark.parametrize(("variants", "value"), NEMENYI.items())
def test_the_critical_difference_is_demsars(variants, value):
    scores = table(6, variants)
    found = ranks(scores, rising=dict.fromkeys(scores, True))
    assert found.critical == pytest.approx(value * math.sqrt(variants * (variants + 1) / 36), abs=2e-3)


def test_friedman_is_scipys_and_ranks_are_best_first():
    scores = table(6, 4)
    found = ranks(scores, rising=dict.fromkeys(scores, True))
    columns = [[scores[b][f"v{v}"] for b in scores] for v in range(4)]
    assert found.p == pytest.approx(scipy.stats.friedmanchisquare(*columns).pvalue)
    assert list(found.mean.values()) == sorted(found.mean.values())
    assert sum(found.mean.values()) == pytest.approx(1 + 2 + 3 + 4)
    assert next(iter(found.mean)) == "v3"


def test_each_benchmark_has_its_direction():
    scores = {"accuracy": {"x": 0.9, "y": 0.8}, "loss": {"x": 1.0, "y": 2.0}}
    assert ranks(scores, rising={"accuracy": True, "loss": False}).mean == {"x": 1.0, "y": 2.0}


def test_ties_and_two_variants():
    scores = {name: dict.fromkeys("xyz", 0.5) for name in ("a", "b")}
    found = ranks(scores, rising=dict.fromkeys(scores, True))
    assert (found.p, set(found.mean.values())) == (1.0, {2.0})
    assert ranks(table(3, 2), rising=dict.fromkeys(("b0", "b1", "b2"), True)).p is None


@pytest.mark.parametrize("scores", [{}, {"a": {"x": 1.0, "y": 2.0}}, {"a": {"x": 1.0}, "b": {"x": 1.0}}])
def test_too_little_has_no_ranks(scores):
    assert ranks(scores, rising=dict.fromkeys(scores, True)) is None


def test_a_benchmark_that_a_variant_lacks_is_not_ranked_on():
    scores = table(3, 3)
    del scores["b1"]["v0"]
    assert ranks(scores, rising=dict.fromkeys(scores, True)).benchmarks == ("b0", "b2")


def test_the_probability_is_mann_and_whitneys():
    one, two = [0.3, 0.5, 0.5, 0.9], [0.2, 0.5, 0.8]
    statistic = scipy.stats.mannwhitneyu(one, two).statistic
    found = probability_of_better([(one, two)])
    assert found.probability == pytest.approx(statistic / 12)
    assert found.low < found.probability < found.high


def test_winning_every_run_is_not_certainty():
    found = probability_of_better([([1.0, 1.1, 1.2], [0.1, 0.2, 0.3])])
    assert (found.probability, found.high) == (1.0, 1.0)
    assert found.low < 0.75
    lost = probability_of_better([([0.1, 0.2, 0.3], [1.0, 1.1, 1.2])])
    assert lost.high == pytest.approx(1 - found.low, abs=1e-6)
    assert 0 < probability_of_better([([1.0], [0.0])]).low < 0.4


def test_more_benchmarks_narrow_the_interval():
    pair = ([0.5, 0.7, 0.9], [0.4, 0.6, 0.8])
    assert probability_of_better([pair] * 4).low > probability_of_better([pair]).low


@pytest.mark.parametrize("pairs", [[], [([], [1.0])]])
def test_no_runs_have_no_probability(pairs):
    with pytest.raises(ValueError, match="needs runs"):
        probability_of_better(pairs)


@pytest.mark.parametrize(("seeds", "benchmarks"), [(3, 1), (3, 4), (10, 2)])
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_the_interval_covers(seeds, benchmarks, shift):
    random = np.random.default_rng(0)
    truth = scipy.stats.norm.cdf(shift / math.sqrt(2))
    held = 0
    for _ in range(300):
        pairs = [(random.normal(shift, size=seeds), random.normal(size=seeds)) for _ in range(benchmarks)]
        found = probability_of_better(pairs)
        held += found.low <= truth <= found.high
    assert held / 300 >= 0.91  # over more shifts and sizes it is 92 to 100%
