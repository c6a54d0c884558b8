"""Regression: the squared error, and both correlations against their definitions."""

import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import tasks
from attention_jax.base.errors import Refused
from attention_jax.tasks.regression import correlations


def test_the_squared_error_is_of_each_row_that_counts():
    items = tasks.build("regression").items(
        jnp.array([[1.0], [2.5], [9.0]]), {"score": jnp.array([2.0, 2.0, 0.0]), "valid": jnp.array([True, True, False])}
    )
    assert items["loss"].values.tolist() == [1.0, 0.25, 81.0]
    assert items["loss"].weights.tolist() == [1, 1, 0]


def test_correlations_are_of_the_values_and_of_their_ranks():
    predicted, score = np.array([0.0, 1.0, 10.0, 3.0]), np.array([1.0, 2.0, 3.0, 2.0])
    found = correlations(predicted, score)

    def pearson(x, y):
        x, y = x - x.mean(), y - y.mean()
        return (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum())

    assert found["pearson"] == pytest.approx(pearson(predicted, score))
    # Equal scores share the mean of their ranks.
    assert found["spearman"] == pytest.approx(pearson(np.array([1, 2, 4, 3.0]), np.array([1, 2.5, 4, 2.5])))


def test_one_score_for_all_has_no_correlation():
    assert correlations(np.full(3, 2.0), np.arange(3.0)) == {"pearson": 0.0, "spearman": 0.0}


def test_more_numbers_than_one_and_unknown_metrics_are_refused():
    with pytest.raises(Refused, match=r"takes one number of each example, and the model gives \(3,\): set model\.num_"):
        tasks.build("regression").items(jnp.zeros((2, 3)), {"score": jnp.zeros(2)})
    with pytest.raises(Refused, match=r"^task regression has no metric 'kendall'\."):
        tasks.build("regression", metric="kendall")
