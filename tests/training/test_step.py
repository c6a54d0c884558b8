"""One update: what it changes, what it leaves, and that parts of a batch add up to the whole."""

import functools
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attention_jax import tasks
from attention_jax.training.by_path import freezing
from attention_jax.training.sharding import MeshSizes, make_mesh
from attention_jax.training.state import TrainState, create_state
from attention_jax.training.step import Instability, make_train_step
from tests.training.parameters import flat

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

    reads: ClassVar[str] = "inputs"

    @nn.compact
    def __call__(self, tokens: jax.Array, *, deterministic: bool = True) -> jax.Array:
        embedded = nn.Embed(7, 4, name="token")(tokens)
        make = lambda: jax.random.normal(self.make_rng("params"), (4, 4))  # noqa: E731
        return nn.Dense(7, name="head")(jnp.sin(embedded @ self.variable("buffers", "projection", make).value))


MODEL = Bigram()
RATE = optax.linear_schedule(0.5, 0.0, 10)
MESH = make_mesh(MeshSizes(data=1), batch_size=1)
OPTIMIZER = optax.sgd(RATE)


class Steps(NamedTuple):
    before: TrainState
    after: TrainState
    metrics: list[dict[str, float]]


@functools.cache
def compiled_step(accumulation: int) -> Any:
    return make_train_step(
        MODEL, tasks.build("token_prediction"), OPTIMIZER, RATE, mesh=MESH, accumulation=accumulation
    )


@jax.jit
def fresh(seed: int) -> TrainState:
    return create_state(MODEL, jnp.asarray(BATCH["inputs"][:1]), OPTIMIZER, seed=seed)


@pytest.fixture(scope="module")
def three_steps() -> dict[int, Steps]:
    """Three updates in one part, and in three."""

    def updated(accumulation: int) -> Steps:
        state, metrics = fresh(0), []
        for _ in range(3):
            state, measured = compiled_step(accumulation)(state, BATCH)
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
        assert steps.after.key == steps.before.key
        assert (int(steps.after.step), int(steps.after.bad_step)) == (3, -1)
        changed = jax.tree.map(lambda a, b: bool((a != b).any()), steps.before.params, steps.after.params)
        assert all(jax.tree.leaves(changed))


def test_the_state_is_donated_and_the_first_bad_step_is_remembered():
    state = fresh(0)
    for batch, bad_step in ((BATCH, -1), (NAN_BATCH, 2), (BATCH, 2)):
        before = state
        state, _ = compiled_step(1)(before, batch)
        # It is the loop that stops: the step makes its update, and passes over nothing.
        assert (int(state.bad_step), int(state.skipped), int(state.step)) == (bad_step, 0, int(state.step))
        assert bool(jnp.isnan(state.params["head"]["kernel"]).any()) == (bad_step > 0)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before.params))


def test_states_depend_on_the_seed_alone():
    first, again, other = (fresh(seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.params["token"]["embedding"], again.params["token"]["embedding"])
    assert (first.params["token"]["embedding"] != other.params["token"]["embedding"]).all()
    assert (jax.tree.leaves(first.buffers)[0] != jax.tree.leaves(other.buffers)[0]).any()
    assert first.key != other.key


ADAM = optax.adam(RATE)
DECAY = 0.2


@functools.cache
def careful_step() -> Any:
    """Skips what is bad, keeps an average and norms, in three parts."""
    return make_train_step(
        MODEL,
        tasks.build("token_prediction"),
        ADAM,
        RATE,
        mesh=MESH,
        accumulation=3,
        ema_decay=DECAY,
        instability=Instability(action="skip", spike=5.0),
        layer_norms=True,
    )


@functools.partial(jax.jit, static_argnames="param_dtype")
def careful(seed: int, *, param_dtype: str = "float32") -> TrainState:
    inputs = jnp.asarray(BATCH["inputs"][:1])
    return create_state(MODEL, inputs, ADAM, seed=seed, param_dtype=param_dtype, with_average=True)


def copied(state: TrainState) -> dict[str, np.ndarray]:
    """All of a state that an update changes, by path, out of the reach of donation."""
    changed = {"params": state.params, "opt_state": state.opt_state, "average": state.average}
    return {path: np.array(leaf) for path, leaf in flat(changed).items()}


def norm_of(tree: Any) -> float:
    return float(np.sqrt(sum((np.asarray(leaf, np.float64) ** 2).sum() for leaf in jax.tree.leaves(tree))))


def test_the_average_of_the_parameters_is_that_of_the_formula():
    state = careful(0)
    average = copied(state)
    for step in range(4):
        state, _ = careful_step()(state, BATCH)
        keep, after = min(DECAY, (1 + step) / (10 + step)), copied(state)
        for path in [path for path in average if path.startswith("average/")]:
            average[path] = keep * average[path] + (1 - keep) * after[path.replace("average", "params", 1)]
            np.testing.assert_allclose(after[path], average[path], rtol=1e-6, atol=1e-7)
    assert state.variables["params"] is state.average
    assert keep == DECAY


def test_a_step_that_is_skipped_changes_nothing_but_the_counts():
    state, metrics = careful_step()(careful(0), BATCH)
    before, typical = copied(state), float(state.typical_norm)
    assert typical == pytest.approx(float(metrics["gradient_norm"]))
    for skipped in (1, 2):
        state, metrics = careful_step()(state, NAN_BATCH)
        assert np.isnan(metrics["train_loss"])
        assert (int(state.step), int(state.skipped), int(state.bad_step)) == (1 + skipped, skipped, 2)
        assert float(state.typical_norm) == typical
        after = copied(state)
        assert after.keys() == before.keys()
        assert all(np.array_equal(after[path], before[path]) for path in after)
    state, metrics = careful_step()(state, BATCH)
    assert (int(state.step), int(state.skipped), int(state.bad_step)) == (4, 2, 2)
    assert not any(np.array_equal(leaf, before[path]) for path, leaf in copied(state).items() if "params" in path)
    # The mean over the steps that were not passed over.
    assert float(state.typical_norm) == pytest.approx((typical + float(metrics["gradient_norm"])) / 2)


@pytest.mark.parametrize(
    ("step", "skipped", "times", "is_spike"),
    [(50, 0, 6.0, True), (50, 0, 4.0, False), (49, 0, 6.0, False), (53, 4, 6.0, False), (54, 4, 6.0, True)],
)
def test_a_gradient_far_above_the_running_mean_of_fifty_steps_is_a_spike(step, skipped, times, is_spike):
    _, metrics = careful_step()(careful(0), BATCH)
    norm = float(metrics["gradient_norm"])
    usual = jnp.float32(norm / times)
    state = replace(careful(0), step=jnp.int32(step), skipped=jnp.int32(skipped), typical_norm=usual)
    before = copied(state)
    state, metrics = careful_step()(state, BATCH)
    assert float(metrics["gradient_norm"]) == pytest.approx(norm, rel=1e-5)
    assert int(state.skipped) == skipped + is_spike
    assert int(state.bad_step) == (step + 1 if is_spike else -1)
    assert np.array_equal(copied(state)["params/head/kernel"], before["params/head/kernel"]) == is_spike
    mean = norm / times if is_spike else norm / times + (norm - norm / times) / min(step + 1 - skipped, 50)
    assert float(state.typical_norm) == pytest.approx(mean, rel=1e-5)


class Stacked(nn.Module):
    """Three layers in one array, as where layers are scanned over, between an embedding and a head."""

    reads: ClassVar[str] = "inputs"

    @nn.compact
    def __call__(self, tokens: jax.Array, *, deterministic: bool = True) -> jax.Array:
        hidden = nn.Embed(7, 4, name="token")(tokens)
        for kernel, bias in zip(*Kernels(name="blocks")(), strict=True):
            hidden = jnp.sin(hidden @ kernel + bias)
        return nn.Dense(7, name="head")(hidden)


class Kernels(nn.Module):
    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        normal = nn.initializers.normal(1.0)
        return self.param("kernel", normal, (3, 4, 4)), self.param("bias", normal, (3, 4))


def test_norms_of_layers_are_those_of_numpy_whether_stacked_or_not():
    model, rate = Stacked(), optax.constant_schedule(0.5)
    optimizer = optax.sgd(rate)
    state = create_state(model, jnp.asarray(BATCH["inputs"]), optimizer, seed=0)
    before = jax.tree.map(np.array, state.params)
    step = make_train_step(model, tasks.build("token_prediction"), optimizer, rate, mesh=MESH, layer_norms=True)
    state, metrics = step(state, BATCH)
    update = jax.tree.map(lambda new, old: np.asarray(new) - old, state.params, before)
    parts = {
        f"block_{layer}": jax.tree.map(lambda leaf, layer=layer: leaf[layer], update["blocks"]) for layer in range(3)
    }
    parts |= {name: update[name] for name in ("token", "head")}
    wanted = {name: norm_of(part) for name, part in parts.items()}
    assert {name: float(metrics[f"update_norm/{name}"]) for name in parts} == pytest.approx(wanted, rel=1e-4)
    of_gradient = {name: 0.5 * float(metrics[f"gradient_norm/{name}"]) for name in parts}
    assert of_gradient == pytest.approx(wanted, rel=1e-4)
    assert len({f"{norm:.3g}" for norm in wanted.values()}) == 5
    assert float(metrics["gradient_norm"]) == pytest.approx(2 * norm_of(update), rel=1e-4)
    assert sum("norm/" in name for name in metrics) == 10


def test_parameters_in_bfloat16_stay_so_and_what_is_summed_is_float32():
    state = careful(0, param_dtype="bfloat16")
    wide = careful(0)
    dtypes = jax.tree.map(lambda leaf: leaf.dtype, state)
    after, metrics = careful_step()(state, BATCH)
    assert jax.tree.map(lambda leaf: leaf.dtype, after) == dtypes
    assert {leaf.dtype.name for leaf in jax.tree.leaves(after.params)} == {"bfloat16"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(after.average)} == {"float32"}
    assert metrics["gradient_norm"].dtype == metrics["gradient_norm/head"].dtype == jnp.float32
    _, of_wide = careful_step()(wide, BATCH)
    # Rounding the parameters alone, and not each of the sums, is at most half of 2^-8 each.
    assert float(metrics["gradient_norm"]) == pytest.approx(float(of_wide["gradient_norm"]), rel=2**-8)


FREEZE = ("token/.*",)


def test_what_is_frozen_has_no_gradient_in_any_norm_and_no_backward_pass():
    optimizer = freezing(OPTIMIZER, FREEZE)
    task = tasks.build("token_prediction")
    state = create_state(MODEL, jnp.asarray(BATCH["inputs"]), optimizer, seed=0)
    before = jax.tree.map(np.array, state.params)
    steps = {
        freeze: make_train_step(MODEL, task, optimizer, RATE, mesh=MESH, layer_norms=True, freeze=freeze)
        for freeze in ((), FREEZE)
    }
    compiled = {freeze: step.lower(state, BATCH).compile() for freeze, step in steps.items()}
    # Two products lead back to the table, and a scatter to its rows; the loss has a scatter of its own.
    counts = {of: [program.as_text().count(f" {of}(") for program in compiled.values()] for of in ("dot", "scatter")}
    assert counts == {"dot": [5, 3], "scatter": [2, 1]}
    state, metrics = compiled[FREEZE](state, BATCH)
    np.testing.assert_array_equal(state.params["token"]["embedding"], before["token"]["embedding"])
    assert (np.asarray(state.params["head"]["kernel"]) != before["head"]["kernel"]).any()
    assert float(metrics["gradient_norm/token"]) == 0
    assert float(metrics["gradient_norm"]) == pytest.approx(float(metrics["gradient_norm/head"])) != 0
    _, metrics = compiled[()](create_state(MODEL, jnp.asarray(BATCH["inputs"]), optimizer, seed=0), BATCH)
    assert float(metrics["gradient_norm"]) > float(metrics["gradient_norm/head"])
