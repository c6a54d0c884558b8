"""Classification against NumPy, with and without label smoothing."""

import jax
import numpy as np
import pytest

from attention_jax import tasks
from attention_jax.kernels import Refused

ROWS, CLASSES = 5, 3
LOGITS = np.random.default_rng(0).normal(size=(ROWS, CLASSES)).astype(np.float32)
LABEL = np.array([*LOGITS.argmax(-1)[:3], *LOGITS.argmin(-1)[3:]], np.int32)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("valid", [None, [True, False, True, True, False]])
def test_loss_and_accuracy_over_the_rows_that_count(smoothing, valid):
    batch = {"label": LABEL} | ({} if valid is None else {"valid": np.array(valid)})
    measures = jax.jit(tasks.build("classification", label_smoothing=smoothing).measure)(LOGITS, batch)
    target = (1 - smoothing) * np.eye(CLASSES)[LABEL] + smoothing / CLASSES
    log_probabilities = LOGITS - np.log(np.exp(LOGITS.astype(float)).sum(-1, keepdims=True))
    losses, correct = -(target * log_probabilities).sum(-1), LOGITS.argmax(-1) == LABEL
    counted = np.array(valid or [True] * ROWS)
    assert measures.keys() == {"loss", "accuracy"}
    assert float(measures["loss"].mean) == pytest.approx(losses[counted].mean(), rel=1e-6)
    assert float(measures["accuracy"].mean) == pytest.approx(correct[counted].mean(), rel=1e-6)
    assert float(measures["loss"].weight) == counted.sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "top5"}, r"^task classification has no metric 'top5'\. There is: accuracy, loss"),
        ({"label_smoothing": 1.0}, r"label_smoothing=1\.0: give a share in \[0, 1\)"),
        ({"label_smoothing": -0.1}, r"label_smoothing=-0\.1"),
        ({"label_smothing": 0.1}, r"no option 'label_smothing' .*Did you mean 'label_smoothing'\?"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(Refused, match=message):
        tasks.build("classification", **options)
