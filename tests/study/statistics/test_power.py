"""What a study could have found, and what more seeds would find."""

import numpy as np
import pytest

from attention_jax.study.statistics.family import ERROR, p_values, residuals
from attention_jax.study.statistics.power import outlook
from attention_jax.study.statistics.verdicts import Complete


def part(seeds, variants, means=(), *, spread=0.01):
    """Returns a study whose means are 0.6 plus those given exactly, so that the truth it shows is the one meant."""
    scores = spread * np.random.default_rng(4).standard_normal((seeds, variants))
    scores += 0.6 - scores.mean(0)
    scores[:, : len(means)] += means
    return Complete(tuple("abcdefgh"[:variants]), tuple(range(seeds)), scores)


def test_the_smallest_difference_is_found_in_four_studies_of_five():
    study = part(5, 6)
    scores = residuals(study.scores).std() * np.random.default_rng(0).standard_normal((1500, 5, 6))
    scores[:, :, 5] += outlook(study, []).smallest
    power = (p_values(scores, reference=0, shuffles=399)[:, -1] <= ERROR).mean()
    assert power == pytest.approx(0.8, abs=0.06)  # the study's own noise is not quite normal


def test_more_seeds_find_smaller_differences_and_spread_hides_them():
    few, many, wide = (outlook(study, []).smallest for study in (part(3, 5), part(10, 5), part(3, 5, spread=0.02)))
    assert many < few < wide
    assert wide == pytest.approx(2 * few, rel=0.05)


def test_more_seeds_for_smaller_differences():
    found = outlook(part(4, 5, (0, 0.02, 0.01, 0.0001)), ["b", "c", "d"]).more_seeds
    assert 1 <= found["b"] < found["c"]
    assert found["d"] is None


def test_scores_without_spread_have_no_outlook():
    same = Complete(("a", "b", "c"), (0, 1, 2), np.full((3, 3), 0.5))
    assert outlook(same, ["b", "c"]).smallest is None
    assert outlook(same, ["b"]).more_seeds == {"b": None}


def test_the_answer_is_the_same_again():
    assert outlook(part(3, 4), ["b"]) == outlook(part(3, 4), ["b"])
