"""What a step does beside the update when asked: an average, skipping, norms, narrow parameters, frozen ones."""

import functools
from dataclasses import replace
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attention_jax import tasks
from attention_jax.training.by_path import freezing
from attention_jax.training.state import TrainState, create_state
from attention_jax.training.step import Instability, make_train_step
from tests.training.parameters import flat
from tests.training.test_step import BATCH, MESH, MODEL, NAN_BATCH, NO_RATE, OPTIMIZER, RATE

ADAM = optax.adam(RATE)
DECAY = 0.2


@functools.cache
def careful_step() -> Any:
    """Skips what is bad, keeps an average and norms, in three parts."""
    return make_train_step(
        MODEL,
        tasks.build("token_prediction"),
        lambda _: (ADAM, RATE),
        mesh=MESH,
        accumulation=3,
        ema_decay=DECAY,
        instability=Instability(action="skip", spike=5.0),
        layer_norms=True,
    )


@functools.partial(jax.jit, static_argnames="param_dtype")
def careful(seed: int, *, param_dtype: str = "float32") -> TrainState:
    inputs = {"inputs": jnp.asarray(BATCH["inputs"][:1])}
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
        state, _ = careful_step()(state, BATCH, NO_RATE)
        keep, after = min(DECAY, (1 + step) / (10 + step)), copied(state)
        for path in [path for path in average if path.startswith("average/")]:
            average[path] = keep * average[path] + (1 - keep) * after[path.replace("average", "params", 1)]
            np.testing.assert_allclose(after[path], average[path], rtol=1e-6, atol=1e-7)
    assert state.variables["params"] is state.average
    assert keep == DECAY


def test_a_step_that_is_skipped_changes_nothing_but_the_counts():
    state, metrics = careful_step()(careful(0), BATCH, NO_RATE)
    before, typical = copied(state), float(state.typical_norm)
    assert typical == pytest.approx(float(metrics["gradient_norm"]))
    for skipped in (1, 2):
        state, metrics = careful_step()(state, NAN_BATCH, NO_RATE)
        assert np.isnan(metrics["train_loss"])
        assert (int(state.step), int(state.skipped), int(state.bad_step)) == (1 + skipped, skipped, 2)
        assert float(state.typical_norm) == typical
        after = copied(state)
        assert after.keys() == before.keys()
        assert all(np.array_equal(after[path], before[path]) for path in after)
    state, metrics = careful_step()(state, BATCH, NO_RATE)
    assert (int(state.step), int(state.skipped), int(state.bad_step)) == (4, 2, 2)
    assert not any(np.array_equal(leaf, before[path]) for path, leaf in copied(state).items() if "params" in path)
    # The mean over the steps that were not passed over.
    assert float(state.typical_norm) == pytest.approx((typical + float(metrics["gradient_norm"])) / 2)


@pytest.mark.parametrize(
    ("step", "skipped", "times", "is_spike"),
    [(50, 0, 6.0, True), (50, 0, 4.0, False), (49, 0, 6.0, False), (53, 4, 6.0, False), (54, 4, 6.0, True)],
)
def test_a_gradient_far_above_the_running_mean_of_fifty_steps_is_a_spike(step, skipped, times, is_spike):
    _, metrics = careful_step()(careful(0), BATCH, NO_RATE)
    norm = float(metrics["gradient_norm"])
    usual = jnp.float32(norm / times)
    state = replace(careful(0), step=jnp.int32(step), skipped=jnp.int32(skipped), typical_norm=usual)
    before = copied(state)
    state, metrics = careful_step()(state, BATCH, NO_RATE)
    assert float(metrics["gradient_norm"]) == pytest.approx(norm, rel=1e-5)
    assert int(state.skipped) == skipped + is_spike
    assert int(state.bad_step) == (step + 1 if is_spike else -1)
    assert np.array_equal(copied(state)["params/head/kernel"], before["params/head/kernel"]) == is_spike
    mean = norm / times if is_spike else norm / times + (norm - norm / times) / min(step + 1 - skipped, 50)
    assert float(state.typical_norm) == pytest.approx(mean, rel=1e-5)


class Stacked(nn.Module):
    """Three layers in one array, as where layers are scanned over, between an embedding and a head."""

    reads: ClassVar[tuple[str, ...]] = ("inputs",)

    @nn.compact
    def __call__(self, inputs: jax.Array, *, deterministic: bool = True) -> jax.Array:
        hidden = nn.Embed(7, 4, name="token")(inputs)
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
    state = create_state(model, {"inputs": jnp.asarray(BATCH["inputs"])}, optimizer, seed=0)
    before = jax.tree.map(np.array, state.params)
    step = make_train_step(
        model, tasks.build("token_prediction"), lambda _: (optimizer, rate), mesh=MESH, layer_norms=True
    )
    state, metrics = step(state, BATCH, NO_RATE)
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
    after, metrics = careful_step()(state, BATCH, NO_RATE)
    assert jax.tree.map(lambda leaf: leaf.dtype, after) == dtypes
    assert {leaf.dtype.name for leaf in jax.tree.leaves(after.params)} == {"bfloat16"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(after.average)} == {"float32"}
    assert metrics["gradient_norm"].dtype == metrics["gradient_norm/head"].dtype == jnp.float32
    _, of_wide = careful_step()(wide, BATCH, NO_RATE)
    # Rounding the parameters alone, and not each of the sums, is at most half of 2^-8 each.
    assert float(metrics["gradient_norm"]) == pytest.approx(float(of_wide["gradient_norm"]), rel=2**-8)


FREEZE = ("token/.*",)


def test_what_is_frozen_has_no_gradient_in_any_norm_and_no_backward_pass():
    optimizer = freezing(OPTIMIZER, FREEZE)
    task = tasks.build("token_prediction")
    state = create_state(MODEL, {"inputs": jnp.asarray(BATCH["inputs"])}, optimizer, seed=0)
    before = jax.tree.map(np.array, state.params)
    steps = {
        freeze: make_train_step(MODEL, task, lambda _: (optimizer, RATE), mesh=MESH, layer_norms=True, freeze=freeze)
        for freeze in ((), FREEZE)
    }
    compiled = {freeze: step.lower(state, BATCH, NO_RATE).compile() for freeze, step in steps.items()}
    # Two products lead back to the table, and a scatter to its rows; the loss has a scatter of its own.
    counts = {of: [program.as_text().count(f" {of}(") for program in compiled.values()] for of in ("dot", "scatter")}
    assert counts == {"dot": [5, 3], "scatter": [2, 1]}
    state, metrics = compiled[FREEZE](state, BATCH, NO_RATE)
    np.testing.assert_array_equal(state.params["token"]["embedding"], before["token"]["embedding"])
    assert (np.asarray(state.params["head"]["kernel"]) != before["head"]["kernel"]).any()
    assert float(metrics["gradient_norm/token"]) == 0
    assert float(metrics["gradient_norm"]) == pytest.approx(float(metrics["gradient_norm/head"])) != 0
    _, metrics = compiled[()](
        create_state(MODEL, {"inputs": jnp.asarray(BATCH["inputs"])}, optimizer, seed=0), BATCH, NO_RATE
    )
    assert float(metrics["gradient_norm"]) > float(metrics["gradient_norm/head"])
