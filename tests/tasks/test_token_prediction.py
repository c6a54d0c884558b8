"""Token prediction against NumPy: which positions count, and how much."""

from typing import ClassVar

import flax.linen as nn
import jax
import numpy as np
import pytest

from attention_jax import tasks
from attention_jax.kernels import Refused

ROWS, TOKENS, VOCABULARY = 3, 4, 5
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(ROWS, TOKENS, VOCABULARY)).astype(np.float32)
TARGETS = RNG.integers(VOCABULARY, size=(ROWS, TOKENS)).astype(np.int32)
# One position right, so that the accuracy is neither 0 nor 1 whatever was drawn.
LOGITS[0, 0, TARGETS[0, 0]] = 9.0
LOGITS[0, 1, TARGETS[0, 1]] = -9.0
MEASURE = jax.jit(tasks.build("token_prediction").measure)
WEIGHTS = np.array([[1, 1, 0.5, 0], [0, 0, 2, 1], [1, 1, 1, 1]], np.float32)


def losses() -> np.ndarray:
    log_normaliser = np.log(np.exp(LOGITS.astype(float)).sum(-1))
    return log_normaliser - np.take_along_axis(LOGITS, TARGETS[..., None], -1)[..., 0]


@pytest.mark.parametrize("valid", [None, [True, True, False], [False, True, False]])
def test_weighted_means_over_the_rows_that_count(valid):
    batch = {"targets": TARGETS, "weights": WEIGHTS} | ({} if valid is None else {"valid": np.array(valid)})
    measures = MEASURE(LOGITS, batch)
    weights = WEIGHTS * np.array(valid or [True] * ROWS)[:, None]
    correct = LOGITS.argmax(-1) == TARGETS
    assert measures.keys() == {"loss", "accuracy"}
    for name, values in (("loss", losses()), ("accuracy", correct)):
        assert float(measures[name].total) == pytest.approx((values * weights).sum(), rel=1e-6)
        assert float(measures[name].weight) == pytest.approx(weights.sum())
        assert float(measures[name].mean) == pytest.approx((values * weights).sum() / weights.sum(), rel=1e-6)


class Given(nn.Module):
    """Its logits are what it reads."""

    reads: ClassVar[tuple[str, ...]] = ("logits",)

    def __call__(self, logits: jax.Array, *, deterministic: bool = True) -> jax.Array:
        return logits


def test_labels_are_smoothed_in_training_alone():
    batch = {"logits": LOGITS, "targets": TARGETS, "weights": WEIGHTS, "valid": np.array([True, True, False])}
    plain, smooth = tasks.build("token_prediction"), tasks.build("token_prediction", label_smoothing=0.1)
    log_probabilities = LOGITS - np.log(np.exp(LOGITS.astype(float)).sum(-1, keepdims=True))
    target = 0.9 * np.eye(VOCABULARY)[TARGETS] + 0.1 / VOCABULARY
    weights = WEIGHTS * batch["valid"][:, None]
    expected = (-(target * log_probabilities).sum(-1) * weights).sum() / weights.sum()
    training = smooth.train(Given(), {}, batch, dropout=jax.random.key(0))[0]
    assert float(training["loss"].mean) == pytest.approx(expected, rel=1e-6)
    evaluation = plain.run(Given(), {}, batch)
    assert smooth.run(Given(), {}, batch) == evaluation
    assert plain.train(Given(), {}, batch, dropout=jax.random.key(0))[0] == evaluation
    assert training["accuracy"] == evaluation["accuracy"]


def test_a_batch_in_which_nothing_counts_has_mean_zero():
    batch = {"targets": TARGETS, "weights": np.zeros_like(WEIGHTS)}
    measures = MEASURE(LOGITS, batch)
    assert [float(ratio.mean) for ratio in measures.values()] == [0.0, 0.0]


def test_parts_add_up_to_the_whole():
    whole = MEASURE(LOGITS, {"targets": TARGETS, "weights": WEIGHTS})["loss"]
    parts = [
        MEASURE(LOGITS[rows], {"targets": TARGETS[rows], "weights": WEIGHTS[rows]})["loss"]
        for rows in (slice(0, 1), slice(1, 3))
    ]
    total, weight = (sum(values) for values in zip(*parts, strict=True))
    assert float(total / weight) == pytest.approx(float(whole.mean), rel=1e-6)
    # What a mean of means would give is another number.
    assert float(sum(part.mean for part in parts) / 2) != pytest.approx(float(whole.mean), rel=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "acuracy"}, r"^task token_prediction has no metric 'acuracy'\. Did you mean 'accuracy'\?$"),
        ({"label_smothing": 0.1}, r"^task 'token_prediction' has no option 'label_smothing' .* 'label_smoothing'\?$"),
        ({"label_smoothing": 1.0}, r"^task token_prediction has label_smoothing=1\.0: give a share in \[0, 1\)\.$"),
        ({"label_smoothing": -0.1}, r"label_smoothing=-0\.1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(Refused, match=message):
        tasks.build("token_prediction", **options)


def test_the_metric_that_decides():
    assert tasks.build("token_prediction").metric == "loss"
    assert tasks.build("token_prediction", metric="accuracy").metric == "accuracy"


def test_where_few_positions_are_asked_for_their_logits_give_the_measures_of_all():
    """A place that does not count may be asked for more than once: rows with fewer answers are filled up so."""
    asked = np.array([[2, 1, 0], [3, 0, 0], [0, 2, 1]], np.int32)
    weights = np.where((np.arange(TOKENS)[None, :, None] == asked[:, None]).any(-1), WEIGHTS, 0)
    everywhere = MEASURE(LOGITS, {"targets": TARGETS, "weights": weights})
    there = np.take_along_axis(LOGITS, asked[..., None], 1)
    measures = MEASURE(there, {"targets": TARGETS, "weights": weights, "asked": asked})
    for name, ratio in everywhere.items():
        np.testing.assert_allclose(measures[name], ratio, rtol=1e-6)
    assert float(measures["loss"].weight) == weights.sum() == 6.5
