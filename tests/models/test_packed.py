"""Documents that share a row: each is predicted as if it were alone, and no gradient crosses from one to another."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models, tasks
from attention_jax.contract.cases import quick_jit
from attention_jax.data.packing import Pieces, Rows
from attention_jax.kernels import Refused
from attention_jax.layers import PositionEmbedding
from tests.layers.arrays import random_variables

VOCABULARY, LENGTH = 11, 16
TEXT = np.random.default_rng(0).integers(VOCABULARY, size=30)
LENGTHS = np.array([3, 7, 1, 3])
PIECES = Pieces(np.array([0, 4, 12, 14]), LENGTHS)
DOCUMENTS = len(LENGTHS)
# All in one row with two tokens of padding; and each at the start of a row of its own.
ROW, ROWS = np.array([LENGTH]), np.full(DOCUMENTS, LENGTH)
PACKED = Rows(TEXT, PIECES, rows=np.zeros(DOCUMENTS, int), padded_lengths=ROW, packed=True).gather(np.arange(1))
ALONE = Rows(TEXT, PIECES, rows=np.arange(DOCUMENTS), padded_lengths=ROWS, packed=False).gather(np.arange(DOCUMENTS))
SPECS = ["scaled_dot", "sliding_window:window=3", "performer:features=8", "gated_delta_net", "scaled_dot:recipe=canon"]
TASK = tasks.build("token_prediction")


@functools.cache
def model_and_variables(spec: str, positions: str = "learned", **more: str) -> tuple[nn.Module, dict]:
    facts = {"vocabulary_size": VOCABULARY, "length": LENGTH}
    options = {"attention": spec, "positions": positions, "num_layers": 2, "num_heads": 2, "width": 8, **more}
    model = models.build("gpt", facts=facts, **options)
    return model, random_variables(model, PACKED["inputs"])


@functools.partial(quick_jit, static_argnames="model")
def logits(model: nn.Module, variables: dict, batch: dict) -> jax.Array:
    return model.apply(variables, **models.arrays_of(model, batch))


@pytest.mark.parametrize(
    ("spec", "positions"),
    [*((spec, "learned") for spec in SPECS), *(("scaled_dot", one) for one in ("sinusoidal", "rope", "alibi", "fire"))],
)
def test_a_packed_document_is_predicted_as_if_it_were_alone(spec, positions):
    check_packed(*model_and_variables(spec, positions))


def test_a_packed_document_reads_no_other_through_the_layers_below():
    check_packed(*model_and_variables("scaled_dot", value_residual="per_token", residual="attention_over_depth"))


def check_packed(model: nn.Module, variables: dict) -> None:
    packed, alone = (np.asarray(logits(model, variables, batch)) for batch in (PACKED, ALONE))
    assert np.isfinite(packed).all(), "padding too"
    for document, length in enumerate(LENGTHS):
        own = PACKED["segments"] == document + 1
        np.testing.assert_allclose(packed[own], alone[document, :length], rtol=0, atol=2e-5)
    # Neither side of the equality is blind to the documents before.
    mixed = np.asarray(logits(model, variables, {"inputs": PACKED["inputs"]}))
    assert np.abs(mixed - packed)[PACKED["segments"] > 1].max() > 1e-2


def test_the_task_gives_packed_documents_the_losses_that_they_have_alone():
    model, variables = model_and_variables("scaled_dot")
    packed, alone = (quick_jit(functools.partial(TASK.run, model, variables))(batch) for batch in (PACKED, ALONE))
    assert float(packed["loss"].weight) == float(alone["loss"].weight) == LENGTHS.sum()
    np.testing.assert_allclose(packed["loss"].total, alone["loss"].total, rtol=1e-5)
    np.testing.assert_allclose(packed["accuracy"].total, alone["accuracy"].total)


@contextmanager
def added_to_embeddings(delta: jax.Array) -> Iterator[None]:
    """Adds delta [B, T, D] to what goes into the first block."""

    def add(call, args, kwargs, context):
        out = call(*args, **kwargs)
        embeds = isinstance(context.module, PositionEmbedding) and context.method_name == "__call__"
        return out + delta if embeds else out

    with nn.intercept_methods(add):
        yield


@pytest.mark.parametrize("spec", SPECS)
def test_no_loss_has_a_gradient_with_respect_to_another_document(spec):
    model, variables = model_and_variables(spec)

    def losses(delta: jax.Array) -> jax.Array:
        """Returns the loss of each document, and of the padding as if it counted, [documents + 1]."""
        with added_to_embeddings(delta):
            named = {name: PACKED[name] for name in ("segments", "positions")}
            predicted = jax.nn.log_softmax(model.apply(variables, PACKED["inputs"], **named))
        each = -jnp.take_along_axis(predicted, PACKED["targets"][..., None], -1)[..., 0]
        return jnp.stack([jnp.sum(each * (PACKED["segments"] == segment)) for segment in range(DOCUMENTS + 1)])

    gradients = np.asarray(quick_jit(jax.jacrev(losses))(jnp.zeros((1, LENGTH, 8))))[:, 0]
    assert gradients.shape == (DOCUMENTS + 1, LENGTH, 8)
    for segment, gradient in enumerate(gradients):
        own = PACKED["segments"][0] == segment
        assert (gradient[~own] == 0).all()
        assert (np.abs(gradient[own]).max(axis=-1) > 0).all()


def test_a_model_that_does_not_tell_documents_apart_is_refused():
    class Blind(nn.Module):
        reads = ("inputs",)

    class Segmented(Blind):
        may_read = ("segments",)

    TASK.check(model_and_variables("scaled_dot")[0], PACKED)
    message = (
        r"^this data set gives positions, segments, which neither model Blind \(it reads inputs\) nor task "
        r"token_prediction \(it reads targets, weights\) reads: choose a model or a task that reads them, such as gpt, "
        r"or data without them\.$"
    )
    with pytest.raises(Refused, match=message):
        TASK.check(Blind(), PACKED)
    with pytest.raises(Refused, match=r" positions, which neither .* inputs and may read segments\) .* such as gpt, "):
        TASK.check(Segmented(), PACKED)
    with pytest.raises(Refused, match=r" gives lengths, which neither .* such as gpt, or data without it\.$"):
        TASK.check(Blind(), ALONE)
