"""What every task does: hands the right array to the model, says what is missing, adds up."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from attention_jax import tasks
from attention_jax.kernels import Refused

BATCH = {"tokens": jnp.arange(6.0).reshape(2, 3), "label": jnp.array([0, 2]), "other": jnp.zeros(2)}


class Echo(nn.Module):
    """Its logits are what it reads, times a parameter, dropped out in training."""

    reads: ClassVar[str] = "tokens"

    @nn.compact
    def __call__(self, tokens: jax.Array, *, deterministic: bool = True) -> jax.Array:
        scaled = tokens * self.param("scale", nn.initializers.ones, ())
        return nn.Dropout(0.5, deterministic=deterministic)(scaled)


def test_the_model_gets_the_array_it_reads():
    task = tasks.build("classification")
    measures = task.run(Echo(), {"params": {"scale": jnp.float32(2)}}, BATCH)
    expected = task.measure(2 * BATCH["tokens"], BATCH)
    assert float(measures["loss"].mean) == float(expected["loss"].mean)


def test_a_key_trains_with_dropout_and_none_evaluates():
    task, variables = tasks.build("classification"), {"params": {"scale": jnp.float32(1)}}

    def loss(key: jax.Array | None) -> float:
        return float(task.run(Echo(), variables, BATCH, dropout=key)["loss"].mean)

    assert loss(None) == loss(None)
    assert loss(jax.random.key(0)) == loss(jax.random.key(0))
    assert len({loss(None), loss(jax.random.key(0)), loss(jax.random.key(1))}) == 3


@pytest.mark.parametrize(
    ("name", "dropped", "message"),
    [
        ("classification", "tokens", r"^the model reads 'tokens': tokens is not in this data set, which gives label, "),
        ("classification", "label", r"^the task: label is not in this data set, which gives other, tokens: choose"),
        ("token_prediction", None, r"^the task: targets, weights is not in this data set, which gives label, other, "),
    ],
)
def test_data_that_do_not_fit_are_refused(name, dropped, message):
    batch = {key: array for key, array in BATCH.items() if key != dropped}
    with pytest.raises(Refused, match=message):
        tasks.build(name).check(Echo(), batch)


def test_data_that_fit_pass():
    tasks.build("classification").check(Echo(), BATCH)


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
