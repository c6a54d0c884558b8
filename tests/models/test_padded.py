"""Sequences of unequal length in one batch: each is treated as if it were alone, whatever stands in the padding."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models, tasks
from attention_jax.contract.cases import quick_jit
from tests.layers.arrays import random_variables

VOCABULARY, LENGTH, CLASSES = 11, 8, 3
RNG = np.random.default_rng(0)
LENGTHS = np.array([8, 3, 0, 3], np.int32)
REAL = np.arange(LENGTH) < LENGTHS[:, None]
TOKENS = RNG.integers(VOCABULARY, size=REAL.shape, dtype=np.int32)
CASES = [
    *(("gpt", spec) for spec in ("scaled_dot", "sliding_window:window=3", "performer:features=8", "gated_delta_net")),
    *(("encoder_classifier", spec) for spec in ("scaled_dot", "linear")),
]
# Every array that either model or its task reads. In no loss counts padding, nor the class of the empty sequence.
PADDED = {
    "gpt": {
        "inputs": TOKENS,
        "targets": RNG.integers(VOCABULARY, size=REAL.shape, dtype=np.int32),
        "weights": REAL.astype(np.float32),
        "lengths": LENGTHS,
    },
    "encoder_classifier": {
        "tokens": TOKENS,
        "label": np.array([0, 1, 2, 1], np.int32),
        "lengths": LENGTHS,
        "valid": LENGTHS > 0,
    },
}
TASKS = {"gpt": tasks.build("token_prediction"), "encoder_classifier": tasks.build("classification")}


@functools.cache
def model_and_variables(name: str, spec: str) -> tuple[nn.Module, dict]:
    facts = {"vocabulary_size": VOCABULARY, "length": LENGTH, "num_classes": CLASSES}
    # Two layers, so that what a padded query gathers is a key of the next; scanned over, which compiles one.
    model = models.build(name, facts=facts, attention=spec, num_layers=2, num_heads=2, width=8, scan_layers=True)
    return model, random_variables(model, TOKENS)


@functools.partial(quick_jit, static_argnames=("name", "spec"))
def run(name: str, spec: str, variables: dict, batch: dict) -> tuple[jax.Array, Any]:
    """Returns the logits, and the gradient of the summed loss."""
    model, _ = model_and_variables(name, spec)

    def loss(params: Any) -> jax.Array:
        return TASKS[name].run(model, {**variables, "params": params}, batch)["loss"].total

    logits = model.apply(variables, **models.arrays_of(model, batch))
    return logits, jax.grad(loss)(variables["params"])


def alone(name: str, row: int) -> dict[str, np.ndarray]:
    """Returns the batch of one sequence, as long as it is, without lengths."""
    batch = {field: array[row : row + 1] for field, array in PADDED[name].items() if field != "lengths"}
    return {field: array[:, : LENGTHS[row]] if array.ndim == 2 else array for field, array in batch.items()}


def assert_close(ours: Any, theirs: Any) -> None:
    """Checks two gradients against each other, by the largest entry: some are zero but for rounding."""
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(theirs))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * largest), ours, theirs)


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_a_padded_batch_gives_the_outputs_and_the_gradient_of_each_sequence_alone(name, spec):
    _, variables = model_and_variables(name, spec)
    logits, gradient = run(name, spec, variables, PADDED[name])
    total: Any = jax.tree.map(jnp.zeros_like, gradient)
    for row in np.flatnonzero(LENGTHS):
        expected, part = run(name, spec, variables, alone(name, row))
        found = logits[row, : LENGTHS[row]] if name == "gpt" else logits[row]
        np.testing.assert_allclose(found, expected[0], rtol=0, atol=2e-5)
        total = jax.tree.map(jnp.add, total, part)
    assert_close(gradient, total)


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_what_stands_in_the_padding_changes_nothing(name, spec):
    model, variables = model_and_variables(name, spec)
    (reads,) = model.reads
    other = {**PADDED[name], reads: np.where(REAL, TOKENS, (TOKENS + 1) % VOCABULARY)}
    (logits, gradient), (others, of_others) = (run(name, spec, variables, batch) for batch in (PADDED[name], other))
    real = REAL if name == "gpt" else np.ones(len(LENGTHS), bool)
    np.testing.assert_allclose(np.asarray(logits)[real], np.asarray(others)[real], rtol=0, atol=1e-6)
    assert_close(of_others, gradient)


def test_without_lengths_padding_is_taken_for_tokens():
    model, variables = model_and_variables("encoder_classifier", "scaled_dot")
    masked, blind = (
        model.apply(variables, jnp.asarray(TOKENS), lengths=lengths) for lengths in (jnp.asarray(LENGTHS), None)
    )
    np.testing.assert_allclose(masked[0], blind[0], rtol=0, atol=1e-5)
    assert np.abs(masked - blind)[1:].max(axis=1).min() > 1e-2


@pytest.mark.parametrize("spec", ["scaled_dot", "linear"])
def test_an_empty_sequence_is_classified_from_a_mean_of_zero_and_teaches_no_block(spec):
    name = "encoder_classifier"
    _, variables = model_and_variables(name, spec)
    # The same program as above: of all rows, the empty one alone counts.
    logits, gradient = run(name, spec, variables, {**PADDED[name], "valid": LENGTHS == 0})
    params, (empty,) = variables["params"], np.flatnonzero(LENGTHS == 0)
    expected = params["norm"]["bias"] @ params["head"]["kernel"] + params["head"]["bias"]
    np.testing.assert_allclose(logits[empty], expected, rtol=1e-5)
    taught = {layer: max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient[layer])) for layer in gradient}
    assert {layer for layer, largest in taught.items() if largest > 0} == {"norm", "head"}
    assert np.isfinite([*taught.values()]).all()
