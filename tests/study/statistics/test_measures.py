"""What the name of a metric says."""

import math

import pytest

from attention_jax.study.statistics.measures import bounds


@pytest.mark.parametrize(
    ("metric", "ends"),
    [
        ("test_accuracy", (0, 1)),
        ("test_loss", (0, math.inf)),
        ("test_perplexity", (1, math.inf)),
        ("elo", (-math.inf, math.inf)),
    ],
)
def test_the_bounds_of_a_metric(metric, ends):
    assert bounds(metric) == ends
