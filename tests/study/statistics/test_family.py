"""The family-wise test: exact where it can be, what it holds, and that odd scores give numbers."""

import itertools

import numpy as np
import pytest
import scipy.stats

from attention_jax.study.statistics.family import ERROR, p_values, pairs, residuals


def normal(studies, seeds, variants, *, seed=1):
    return np.random.default_rng(seed).standard_normal((studies, seeds, variants))


def share_of_shuffles(scores):
    """The first step by the letter: every way to name the scores of each seed, one after another."""
    seeds, variants = scores.shape

    def largest(named):
        left = named - named.mean(1, keepdims=True) - named.mean(0)
        differences = (named.mean(0)[1:] - named.mean(0)[0]) ** 2
        return differences, (left - left.mean()).var() * left.size

    differences, residual = largest(scores - scores.mean())
    counts, total = np.zeros(variants - 1), 0
    for orders in itertools.product(itertools.permutations(range(variants)), repeat=seeds):
        named = np.array([row[list(order)] for row, order in zip(scores - scores.mean(), orders, strict=True)])
        other, spread = largest(named)
        counts += other.max() / spread >= differences / residual * (1 - 1e-9)
        total += 1
    return counts / total


@pytest.mark.parametrize(("seeds", "variants"), [(4, 3), (6, 2)])
def test_small_studies_take_every_shuffle(seeds, variants):
    scores = normal(1, seeds, variants, seed=5)
    gate = [
        min(
            scipy.stats.ttest_ind(scores[0, :, variant], scores[0, :, 0], equal_var=False).pvalue,
            scipy.stats.ttest_rel(scores[0, :, variant], scores[0, :, 0]).pvalue,
        )
        for variant in range(1, variants)
    ]
    # A tenth is added to the share; nothing is separated, so the first step is the last.
    expected = np.minimum(1, np.maximum(share_of_shuffles(scores[0]) / 0.9, gate))
    assert expected.min() > ERROR
    np.testing.assert_allclose(p_values(scores, reference=0)[0], expected, rtol=1e-9)


def test_a_sample_of_shuffles_comes_near_all_of_them():
    scores = normal(20, 4, 3, seed=2)
    exact = p_values(scores, reference=0, shuffles=9999)  # 1296 in all
    sampled = p_values(scores, reference=0, shuffles=600)
    assert not np.array_equal(exact, sampled)
    assert np.abs(exact - sampled).max() < 0.08


@pytest.mark.parametrize("seeds", [3, 4, 5])
def test_two_variants_with_few_seeds_are_the_paired_t_test(seeds):
    scores = normal(50, seeds, 2)
    student = scipy.stats.ttest_rel(scores[:, :, 1], scores[:, :, 0], axis=1).pvalue
    np.testing.assert_allclose(p_values(scores, reference=0)[:, 0], np.minimum(1, student / 0.9), atol=0.012)


def test_the_gate_is_the_smaller_of_welch_and_paired():
    # Ten seeds and a huge difference: no shuffle of 9999 comes near, so only the gate could hold the verdict back.
    scores = normal(1, 3, 6)
    scores[:, :, 1] = [[9.0, 0.0, 0.0]]
    welch = scipy.stats.ttest_ind(scores[0, :, 1], scores[0, :, 0], equal_var=False).pvalue
    paired = scipy.stats.ttest_rel(scores[0, :, 1], scores[0, :, 0]).pvalue
    assert p_values(scores, reference=0)[0, 0] >= min(welch, paired) > ERROR


def test_the_order_of_seeds_and_the_place_of_the_reference_do_not_matter():
    scores = normal(1, 3, 5)
    scores[:, :, 2] += 6
    found = p_values(scores, reference=0)
    np.testing.assert_allclose(found, p_values(scores[:, ::-1], reference=0), atol=0.02)
    np.testing.assert_allclose(found, p_values(scores[:, :, [1, 2, 0, 3, 4]], reference=2), atol=0.02)


def test_a_scale_and_a_shift_change_nothing():
    scores = normal(1, 5, 6)
    scores[:, :, 3] += 3
    np.testing.assert_allclose(
        p_values(scores, reference=0), p_values(1e-6 * scores + 1e3, reference=0), rtol=0, atol=1e-3
    )


def test_what_a_seed_does_to_all_variants_cancels():
    scores = normal(200, 5, 6)
    scores[:, :, 1] += 4
    moved = scores + 30 * normal(200, 5, 1, seed=9)
    assert (p_values(moved, reference=0, shuffles=399)[:, 0] <= ERROR).mean() > 0.95


def test_a_control_far_off_costs_nothing():
    """Step down: without it, a control of 30 standard deviations would hide a difference of 5."""
    scores = normal(200, 3, 8)
    scores[:, :, 1] += 5
    alone = (p_values(scores, reference=0, shuffles=399)[:, 0] <= ERROR).mean()
    scores[:, :, 2] -= 30
    beside = p_values(scores, reference=0, shuffles=399) <= ERROR
    assert beside[:, 1].all()
    assert beside[:, 0].mean() > alone - 0.05 > 0.8


def test_many_true_differences_leave_the_equal_ones_alone():
    """Half of the variants differ, each by its own amount: the rest are falsely separated in at most 5%."""
    scores = normal(1500, 5, 8)
    scores[:, :, 4:] += np.array([2.0, 4.0, 8.0, -16.0])
    found = p_values(scores, reference=0, shuffles=399) <= ERROR
    assert found[:, :3].any(1).mean() <= 0.06
    assert found[:, 4:].mean() > 0.95
    every = p_values(scores[:500], reference=None, shuffles=199) <= ERROR
    among = np.array([one < 4 and two < 4 for one, two in zip(*pairs(8, reference=None), strict=True)])
    assert every[:, among].any(1).mean() <= 0.07


@pytest.mark.parametrize("reference", [0, None])
@pytest.mark.parametrize("variants", [2, 3, 6])
def test_scores_that_do_not_spread(variants, reference):
    equal = np.full((1, 3, variants), 0.25)
    assert (p_values(equal, reference=reference) == 1).all()
    # Each variant has a score of its own in every seed: nothing is left to chance.
    apart = np.tile(0.1 * np.arange(variants), (1, 3, 1))
    found = p_values(apart, reference=reference)
    assert np.isfinite(found).all()
    assert (found <= 1).all()
    assert variants < 4 or (found <= ERROR).all()
    one = equal.copy()
    one[0, 0, 1] = 0.3
    assert np.isfinite(p_values(one, reference=reference)).all()
    assert p_values(one, reference=reference).min() > ERROR


@pytest.mark.parametrize("scores", [np.zeros((1, 2, 4)), np.zeros((1, 3, 1)), np.full((1, 3, 3), np.nan)])
def test_what_cannot_be_tested_is_an_error(scores):
    with pytest.raises(ValueError, match="allow no test"):
        p_values(scores, reference=0)


def test_residuals_have_the_spread_of_the_scores():
    scores = normal(2000, 3, 4) + 5 * normal(2000, 3, 1, seed=3) + np.arange(4)
    assert np.mean([residuals(study).std() ** 2 for study in scores]) == pytest.approx(1, abs=0.03)


def alike(studies, slices, variants, seeds, *, shared, seed=3):
    """Several scores of equal variants, a share of whose variance is common to all of them: [studies, K, N, V]."""
    random = np.random.default_rng(seed)
    common = random.standard_normal((studies, 1, seeds, variants))
    own = random.standard_normal((studies, slices, seeds, variants))
    return np.sqrt(shared) * common + np.sqrt(1 - shared) * own


def false_verdicts(studies, **options):
    return np.mean([(p_values(scores, reference=0, shuffles=199, **options) <= ERROR).any() for scores in studies])


@pytest.mark.parametrize(("variants", "seeds", "shared"), [(6, 3, 0.0), (4, 5, 0.8), (2, 3, 0.5)])
def test_joint_scores_of_equal_variants_hold_the_rate_that_apart_they_break(variants, seeds, shared):
    studies = alike(200, 8, variants, seeds, shared=shared)
    # The upper end of the exact 95% interval of a rate of 5% in 200 studies is 8.5%.
    assert false_verdicts(studies, joint=True) <= 0.085
    assert false_verdicts(studies) > 0.1


def test_joint_scores_whose_spreads_differ_stay_within_twice_the_rate():
    studies = alike(200, 8, 6, 5, shared=0.0) * np.geomspace(0.05, 1, 6)
    assert false_verdicts(studies, joint=True) <= 0.1
    assert false_verdicts(studies) > 0.2


def test_a_difference_in_one_of_the_joint_scores_is_found_there_alone():
    studies = alike(50, 8, 4, 5, shared=0.5)
    studies[:, 2, :, 1] += 6
    found = np.array([p_values(scores, reference=0, joint=True, shuffles=199) <= ERROR for scores in studies])
    assert found[:, 2, 0].mean() > 0.9
    found[:, 2, 0] = False
    assert found.any((1, 2)).mean() < 0.1


def test_joint_scores_that_are_all_the_same_are_one_score():
    scores = normal(1, 5, 4, seed=8)
    scores[0, :, 1] += 3
    one = p_values(scores, reference=0, shuffles=999)
    both = p_values(np.concatenate([scores, scores]), reference=0, joint=True, shuffles=999)
    np.testing.assert_array_equal(both[0], both[1])
    # The gate alone counts two.
    assert (both[0] <= 1 - (1 - one[0]) ** 2 + 1e-12).all()
    single = p_values(scores, reference=0, joint=True, shuffles=999)
    np.testing.assert_allclose(single, one)
