"""What every task does: hands the right array to the model, says what is missing, adds up."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from attention_jax import tasks
from attention_jax.kernels import Refused
from attention_jax.tasks.task import are_likeliest

BATCH = {"tokens": jnp.arange(6.0).reshape(2, 3), "label": jnp.array([0, 2])}


class Echo(nn.Module):
    """Its logits are what it reads, and an offset where there is one, times a parameter, dropped out in training."""

    reads: ClassVar[tuple[str, ...]] = ("tokens",)
    may_read: ClassVar[tuple[str, ...]] = ("offset",)

    @nn.compact
    def __call__(self, tokens: jax.Array, *, offset: jax.Array | float = 0.0, deterministic: bool = True) -> jax.Array:
        scaled = (tokens + offset) * self.param("scale", nn.initializers.ones, ())
        return nn.Dropout(0.5, deterministic=deterministic)(scaled)


def test_the_model_gets_the_array_it_reads():
    task = tasks.build("classification")
    measures = task.run(Echo(), {"params": {"scale": jnp.float32(2)}}, BATCH)
    expected = task.measure(2 * BATCH["tokens"], BATCH)
    assert float(measures["loss"].mean) == float(expected["loss"].mean)


def test_a_key_trains_with_dropout_and_none_evaluates():
    task, variables = tasks.build("classification"), {"params": {"scale": jnp.float32(1)}}

    def loss(key: jax.Array | None) -> float:
        if key is None:
            return float(task.run(Echo(), variables, BATCH)["loss"].mean)
        return float(task.train(Echo(), variables, BATCH, dropout=key)[0]["loss"].mean)

    assert loss(None) == loss(None)
    assert loss(jax.random.key(0)) == loss(jax.random.key(0))
    assert len({loss(None), loss(jax.random.key(0)), loss(jax.random.key(1))}) == 3


@pytest.mark.parametrize(
    ("name", "dropped", "message"),
    [
        ("classification", "tokens", r"^model Echo reads tokens: tokens is not in this data set, which gives label: "),
        ("classification", "label", r"^task classification reads label: label is not in .* gives tokens: choose"),
        (
            "token_prediction",
            None,
            r"^task token_prediction reads targets, weights: targets, weights is not in .* label",
        ),
    ],
)
def test_data_that_do_not_fit_are_refused(name, dropped, message):
    batch = {key: array for key, array in BATCH.items() if key != dropped}
    with pytest.raises(Refused, match=message):
        tasks.build(name).check(Echo(), batch)


def test_the_model_gets_what_it_may_read_where_it_is_there():
    task, variables = tasks.build("classification"), {"params": {"scale": jnp.float32(2)}}
    offset = jnp.array([[1.0, 0, 0]])
    measures = task.run(Echo(), variables, {**BATCH, "offset": offset})
    expected = task.measure(2 * (BATCH["tokens"] + offset), BATCH)
    assert float(measures["loss"].mean) == float(expected["loss"].mean)


def test_data_that_fit_pass():
    tasks.build("classification").check(Echo(), BATCH)
    tasks.build("classification").check(Echo(), {**BATCH, "offset": jnp.zeros(3)})


def test_an_array_that_neither_model_nor_task_reads_is_refused_by_name():
    message = (
        r"^this data set gives other, which neither model Echo \(it reads tokens and may read offset\) nor task "
        r"classification \(it reads label\) reads: choose a model or a task that reads it, or data without it\.$"
    )
    with pytest.raises(Refused, match=message):
        tasks.build("classification").check(Echo(), {**BATCH, "other": jnp.zeros(2)})
    lengths = (
        r" gives lengths, which neither .* choose a model or a task that reads it, such as cnn_classifier or "
        r"encoder_classifier or "
    )
    with pytest.raises(Refused, match=lengths):
        tasks.build("classification").check(Echo(), {**BATCH, "lengths": jnp.zeros(2, int)})


def test_unknown_tasks_are_refused():
    with pytest.raises(Refused, match=r"^there is no task 'classifcation'\. Did you mean 'classification'\?$"):
        tasks.build("classifcation")


@pytest.mark.parametrize(
    ("metric", "higher"),
    [
        ("test_accuracy", True),
        ("bleu", True),
        ("validation_loss", False),
        ("loss", False),
        ("test_perplexity", False),
        ("word_error", False),
        ("lossless_rate", True),
    ],
)
def test_which_metrics_are_better_when_higher(metric, higher):
    assert tasks.higher_is_better(metric) is higher


def test_a_task_says_which_way_its_metric_is_better():
    assert tasks.build("classification").higher_is_better
    assert not tasks.build("classification", metric="loss").higher_is_better


def test_the_likeliest_is_the_first_of_equals_and_never_beside_a_nan():
    logits = jnp.array([[1.0, 3, 3, 0], [2, 2, 2, 2], [-jnp.inf, -1, -2, -jnp.inf], [jnp.nan, 1, 2, 0]])
    for target in range(4):
        found = are_likeliest(logits, jnp.full(4, target))
        expected = [*(jnp.argmax(logits[:3], -1) == target), False]
        assert found.tolist() == [float(one) for one in expected]
