"""One update: what it changes, what it leaves, and that parts of a batch add up to the whole."""

import functools
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attention_jax import tasks
from attention_jax.training.parallel.sharding import MeshSizes, make_mesh
from attention_jax.training.state import TrainState, create_state
from attention_jax.training.step import make_train_step

ROWS, TOKENS = 6, 4
RNG = np.random.default_rng(0)
# Weights that differ so much between the rows that a mean of means is far from the mean.
WEIGHTS = np.array([[9, 9, 9, 9], [1, 0, 0, 0], [0, 0, 0, 0], [5, 0, 0, 5], [0, 0.1, 0, 0], [3, 2, 1, 0]], np.float32)
BATCH = {
    "inputs": RNG.integers(7, size=(ROWS, TOKENS), dtype=np.int32),
    "targets": RNG.integers(7, size=(ROWS, TOKENS), dtype=np.int32),
    "weights": WEIGHTS,
}
NAN_BATCH = {**BATCH, "weights": np.full_like(WEIGHTS, np.nan)}


class Bigram(nn.Module):
    """Predicts the next token from the last one alone, through a random projection that is not trained."""

    reads: ClassVar[tuple[str, ...]] = ("inputs",)

    @nn.compact
    def __call__(self, inputs: jax.Array, *, deterministic: bool = True) -> jax.Array:
        embedded = nn.Embed(7, 4, name="token")(inputs)
        make = lambda: jax.random.normal(self.make_rng("params"), (4, 4))  # noqa: E731
        return nn.Dense(7, name="head")(jnp.sin(embedded @ self.variable("buffers", "projection", make).value))


MODEL = Bigram()
RATE = optax.linear_schedule(0.5, 0.0, 10)
MESH = make_mesh(MeshSizes(data=1), batch_size=1)
OPTIMIZER = optax.sgd(RATE)
# What a step is handed where its optimizer has a rate of its own.
NO_RATE = jnp.float32(0)


class Steps(NamedTuple):
    before: TrainState
    after: TrainState
    metrics: list[dict[str, float]]


@functools.cache
def compiled_step(accumulation: int) -> Any:
    return make_train_step(
        MODEL, tasks.build("token_prediction"), lambda _: (OPTIMIZER, RATE), mesh=MESH, accumulation=accumulation
    )


@jax.jit
def fresh(seed: int) -> TrainState:
    return create_state(MODEL, {"inputs": jnp.asarray(BATCH["inputs"][:1])}, OPTIMIZER, seed=seed)


@pytest.fixture(scope="module")
def three_steps() -> dict[int, Steps]:
    """Three updates in one part, and in three."""

    def updated(accumulation: int) -> Steps:
        state, metrics = fresh(0), []
        for _ in range(3):
            state, measured = compiled_step(accumulation)(state, BATCH, NO_RATE)
            metrics.append({name: float(value) for name, value in measured.items()})
        return Steps(fresh(0), state, metrics)

    return {accumulation: updated(accumulation) for accumulation in (1, 3)}


def test_parts_accumulate_to_the_whole_batch_whatever_their_weights(three_steps):
    whole, parts = three_steps[1], three_steps[3]
    for a, b in zip(jax.tree.leaves(whole.after.params), jax.tree.leaves(parts.after.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)
    for of_whole, of_parts in zip(whole.metrics, parts.metrics, strict=True):
        assert of_parts == pytest.approx(of_whole, rel=1e-5)


def test_the_update_is_that_of_the_formula(three_steps):
    steps = three_steps[1]

    def loss(params: dict) -> jax.Array:
        logits = MODEL.apply({"params": params, "buffers": steps.before.buffers}, BATCH["inputs"])
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), BATCH["targets"][..., None], -1)[..., 0]
        return -(picked * WEIGHTS).sum() / WEIGHTS.sum()

    loss_and_gradient = jax.jit(jax.value_and_grad(loss))
    value, gradient = loss_and_gradient(steps.before.params)
    norm = np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(gradient)))
    first = steps.metrics[0]
    assert first["train_loss"] == pytest.approx(float(value), rel=1e-5)
    assert first["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    assert [metrics["learning_rate"] for metrics in steps.metrics] == pytest.approx([0.5, 0.45, 0.4])
    # After one step the loss is that of parameters moved against the gradient.
    moved = jax.tree.map(lambda leaf, slope: leaf - 0.5 * slope, steps.before.params, gradient)
    assert steps.metrics[1]["train_loss"] == pytest.approx(float(loss_and_gradient(moved)[0]), rel=1e-5)


def test_what_is_not_trained_stays(three_steps):
    for steps in three_steps.values():
        (before,), (after,) = jax.tree.leaves(steps.before.buffers), jax.tree.leaves(steps.after.buffers)
        np.testing.assert_array_equal(after, before)
        assert (steps.after.key == steps.before.key).all()
        assert (int(steps.after.step), int(steps.after.bad_step)) == (3, -1)
        changed = jax.tree.map(lambda a, b: bool((a != b).any()), steps.before.params, steps.after.params)
        assert all(jax.tree.leaves(changed))


def test_the_state_is_donated_and_the_first_bad_step_is_remembered():
    state = fresh(0)
    for batch, bad_step in ((BATCH, -1), (NAN_BATCH, 2), (BATCH, 2)):
        before = state
        state, _ = compiled_step(1)(before, batch, NO_RATE)
        # It is the loop that stops: the step makes its update, and passes over nothing.
        assert (int(state.bad_step), int(state.skipped), int(state.step)) == (bad_step, 0, int(state.step))
        assert bool(jnp.isnan(state.params["head"]["kernel"]).any()) == (bad_step > 0)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before.params))


def test_states_depend_on_the_seed_alone():
    first, again, other = (fresh(seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.params["token"]["embedding"], again.params["token"]["embedding"])
    assert (first.params["token"]["embedding"] != other.params["token"]["embedding"]).all()
    assert (jax.tree.leaves(first.buffers)[0] != jax.tree.leaves(other.buffers)[0]).any()
    assert (first.key != other.key).any()
