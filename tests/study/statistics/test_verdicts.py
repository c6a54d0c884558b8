"""From scores to words, whatever is missing."""

import numpy as np
import pytest
import scipy.stats

from attention_jax.study.statistics.verdicts import against_reference, complete, letters, tie_groups


def study(seeds=5, variants=4, *, missing=(), seed=0, **shifts):
    """Returns variant -> seed -> score: a, b, c ... around 0.6, shifted as told, without those missing."""
    random = np.random.default_rng(seed)
    names = "abcdefghijkl"[:variants]
    return {
        v: {s: 0.6 + shifts.get(v, 0) + 0.01 * random.standard_normal() for s in range(seeds) if (v, s) not in missing}
        for v in names
    }


def compared(scores, *, rising=True):
    return against_reference(scores, complete(scores, reference="a"), reference="a", rising=rising)


def test_a_large_difference_is_found_in_the_direction_of_the_measure():
    found = compared(study(b=0.1, c=-0.1))
    assert {v: c.verdict for v, c in found.items()} == {"b": "better", "c": "worse", "d": "not separated"}
    assert found["b"].p <= 0.05 < found["d"].p
    assert found["b"].difference == pytest.approx(0.1, abs=0.02)
    assert compared(study(b=0.1), rising=False)["b"].verdict == "worse"


def test_a_difference_has_students_interval_over_the_pairs_of_a_seed():
    scores = {"a": {0: 0.1, 1: 0.5, 2: 0.9}, "b": {0: 0.21, 1: 0.6, 2: 0.99}, "c": {1: 0.7}}
    found = compared(scores)
    differences = scipy.stats.ttest_rel([*scores["b"].values()], [*scores["a"].values()]).confidence_interval(0.95)
    assert (found["b"].low, found["b"].high) == pytest.approx((differences.low, differences.high))
    assert found["b"].difference == pytest.approx(0.1)
    assert (found["c"].low, found["c"].high) == (None, None)
    assert compared({"a": {0: 0.1, 1: 0.5}, "b": {0: 0.1, 1: 0.5}})["b"].high is None


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_and_two_seeds_decide_nothing(seeds):
    found = compared(study(seeds, b=0.3))
    assert {c.verdict for c in found.values()} == {"too few seeds"}
    assert found["b"].p is None
    assert found["b"].seeds == seeds
    assert complete(study(seeds), reference="a") is None


@pytest.mark.parametrize(("variants", "seeds"), [(2, 3), (2, 6), (3, 3), (4, 3)])
def test_small_studies_can_decide(variants, seeds):
    """Where names can be shuffled in too few ways: two variants with three seeds are the most common study."""
    assert compared(study(seeds, variants, b=0.2))["b"].verdict == "better"


def test_without_the_reference_there_is_no_comparison():
    scores = study()
    del scores["a"]
    assert complete(scores, reference="a") is None
    assert compared(scores) == {}
    assert compared({"a": {0: 0.5}}) == {}
    assert compared({"a": {0: 0.5}, "b": {1: 0.5}}) == {}


def test_seeds_that_someone_lacks_are_left_out():
    part = complete(study(missing=[("b", 1)]), reference="a")
    assert part.seeds == (0, 2, 3, 4)
    assert part.variants == ("a", "b", "c", "d")
    assert part.scores.shape == (4, 4)


def test_a_variant_that_failed_often_does_not_take_the_seeds_from_the_rest():
    scores = study(10, b=0.1, missing=[("c", seed) for seed in range(3, 10)])
    part = complete(scores, reference="a")
    assert part.variants == ("a", "b", "d")
    assert len(part.seeds) == 10
    found = compared(scores)
    assert (found["c"].verdict, found["c"].seeds, found["c"].p) == ("too few seeds", 3, None)
    assert found["b"].verdict == "better"


def test_constant_scores():
    same = {variant: dict.fromkeys(range(3), 0.5) for variant in "abcde"}
    assert {c.verdict for c in compared(same).values()} == {"not separated"}
    apart = same | {"b": dict.fromkeys(range(3), 0.9)}
    assert {v: c.verdict for v, c in compared(apart).items() if c.verdict != "not separated"} == {"b": "better"}


def test_groups_of_ties():
    scores = study(variants=6, b=0.2, c=0.2, d=-0.2, e=-0.4)
    groups = tie_groups(complete(scores, reference="a"), rising=True)
    assert [set(group) for group in groups] == [{"b", "c"}, {"a", "f"}, {"d"}, {"e"}]
    assert [letters(groups, variant) for variant in "bafde"] == ["a", "b", "b", "c", "d"]
    falling = tie_groups(complete(scores, reference="a"), rising=False)
    assert [set(group) for group in falling] == [{"e"}, {"d"}, {"a", "f"}, {"b", "c"}]


def test_a_variant_between_two_groups_is_in_both():
    step = 0.022
    scores = {v: {s: k * step + 0.008 * ((3 * s + 5 * k) % 7 - 3) / 3 for s in range(6)} for k, v in enumerate("abcde")}
    groups = tie_groups(complete(scores, reference="a"), rising=True)
    members = [set(group) for group in groups]
    assert set().union(*members) == set("abcde")
    assert not any(one < two for one in members for two in members)


def test_letters_go_on_after_z():
    groups = [(f"v{place}",) for place in range(28)]
    assert [letters(groups, f"v{place}") for place in (0, 25, 26, 27)] == ["a", "z", "aa", "ab"]
    assert letters(groups, "other") == ""
