"""Collections that a step changes: kept, in order over parts, untouched by skipped steps and evaluations."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models, tasks
from attention_jax.base.errors import Refused
from attention_jax.models.catalogue import register
from attention_jax.training import Experiment
from attention_jax.training.evaluations import evaluate
from attention_jax.training.given import given
from attention_jax.training.members import train_members
from attention_jax.training.state import TrainState, create_state
from attention_jax.training.step import Instability, make_train_step
from tests.training import tiny
from tests.training.disturbance import Killed, as_bytes, at_batch, final_state, kill
from tests.training.test_step import BATCH, MESH, NAN_BATCH, NO_RATE, OPTIMIZER, RATE, WEIGHTS
from tests.training.test_step import MODEL as BIGRAM

RATE_OF_MEAN = 0.25
ROUTING, BALANCE = 0.3, 0.7


class Centred(nn.Module):
    """Tokens less their running mean, which training moves towards that of each batch; the mean's size is a loss."""

    vocabulary_size: int = 7
    reads: ClassVar[tuple[str, ...]] = ("inputs",)
    may_read: ClassVar[tuple[str, ...]] = ("asked",)
    mutable: ClassVar[tuple[str, ...]] = ("centroids", "unused")

    @nn.compact
    def __call__(self, inputs: jax.Array, *, asked: jax.Array | None = None, deterministic: bool = True) -> jax.Array:
        embedded = nn.Embed(self.vocabulary_size, 4, name="token")(inputs)
        mean = self.variable("centroids", "mean", jnp.zeros, 4)
        if not deterministic:
            mean.value = (1 - RATE_OF_MEAN) * mean.value + RATE_OF_MEAN * embedded.mean((0, 1))
        scale = self.param("scale", nn.initializers.ones, ())
        self.sow("losses", "routing", ROUTING * scale)
        self.sow("losses", "balance", BALANCE * jnp.stack([scale, scale**2]))
        self.sow("intermediates", "embedded", embedded)
        if asked is not None:
            embedded = jnp.take_along_axis(embedded, asked[..., None], axis=1)
        return nn.Dense(self.vocabulary_size, name="head")(embedded - jax.lax.stop_gradient(mean.value))


MODEL, TASK = Centred(), tasks.build("token_prediction")


@functools.cache
def step_in(accumulation: int) -> Any:
    return make_train_step(
        MODEL, TASK, lambda _: (OPTIMIZER, RATE), mesh=MESH, accumulation=accumulation,
        instability=Instability(action="skip"),
    )  # fmt: skip


@jax.jit
def fresh() -> TrainState:
    return create_state(MODEL, {"inputs": jnp.asarray(BATCH["inputs"][:1])}, OPTIMIZER, seed=0)


def moved(mean: np.ndarray, state: TrainState, rows: slice) -> np.ndarray:
    embedded = np.asarray(state.params["token"]["embedding"])[BATCH["inputs"][rows]]
    return (1 - RATE_OF_MEAN) * mean + RATE_OF_MEAN * embedded.mean((0, 1))


def test_they_are_in_the_state_and_go_from_one_part_of_a_batch_to_the_next():
    before = fresh()
    assert before.mutable.keys() == {"centroids"}
    assert before.variables.keys() == {"params", "buffers", "centroids"}
    np.testing.assert_array_equal(before.mutable["centroids"]["mean"], np.zeros(4))
    for accumulation in (1, 3):
        expected = np.zeros(4)
        for part in range(accumulation):
            expected = moved(expected, before, slice(part, None, accumulation))
        after, _ = step_in(accumulation)(fresh(), BATCH, NO_RATE)
        np.testing.assert_allclose(after.mutable["centroids"]["mean"], expected, rtol=1e-5)


def test_a_skipped_step_leaves_them():
    once, _ = step_in(1)(fresh(), BATCH, NO_RATE)
    mean = np.asarray(once.mutable["centroids"]["mean"])
    skipped, _ = step_in(1)(once, NAN_BATCH, NO_RATE)
    assert int(skipped.skipped) == 1
    np.testing.assert_array_equal(skipped.mutable["centroids"]["mean"], mean)


@pytest.mark.parametrize("accumulation", [1, 3])
def test_what_is_sown_into_losses_is_added_to_the_mean_loss(accumulation):
    state = fresh()
    after, metrics = step_in(accumulation)(fresh(), BATCH, NO_RATE)
    variables = {**state.variables, "centroids": after.mutable["centroids"]}
    aux = ROUTING + 2 * BALANCE
    assert float(metrics["train_aux_loss"]) == pytest.approx(aux, rel=1e-6)
    if accumulation == 1:
        task_loss = TASK.run(MODEL, variables, BATCH)["loss"].mean
        assert float(metrics["train_loss"]) == pytest.approx(float(task_loss) + aux, rel=1e-5)
        assert "aux_loss" not in TASK.run(MODEL, variables, BATCH)
    # Half a step down the slope of r s + b (s + s^2) at s = 1, whatever the weights of the parts.
    assert float(after.params["scale"]) == pytest.approx(1 - 0.5 * (ROUTING + 3 * BALANCE), rel=1e-5)
    assert WEIGHTS.sum() != WEIGHTS.size


def test_a_model_that_declares_nothing_has_the_program_of_a_plain_call():
    key = jax.random.key(0)
    plain = create_state(BIGRAM, {"inputs": jnp.asarray(BATCH["inputs"][:1])}, OPTIMIZER, seed=0)

    def trained(variables: Any) -> Any:
        return TASK.train(BIGRAM, variables, BATCH, dropout=key)[0]

    def called(variables: Any) -> Any:
        return TASK.measure(BIGRAM.apply(variables, BATCH["inputs"], deterministic=False), BATCH)

    programs = [str(jax.make_jaxpr(function)(plain.variables).jaxpr.eqns) for function in (trained, called)]
    assert programs[0] == programs[1]


@dataclass(frozen=True)
class Trained:
    experiment: Experiment
    folder: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the model of this file, which is registered while its tests run."""
    register("centred")(Centred)
    model = {"name": "centred", "vocabulary_size": 16}
    experiment = Experiment(**tiny.sections(model=model, mesh={"data": 1}))
    folder = tmp_path_factory.mktemp("centred")
    tiny.run(experiment, folder)
    yield Trained(experiment, folder)
    del models.models._builders["centred"]


def test_a_run_with_them_resumes_to_the_bit(trained, tmp_path):
    with at_batch(15, kill), pytest.raises(Killed):
        tiny.run(trained.experiment, tmp_path)
    tiny.run(trained.experiment, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (trained.folder / "metrics.jsonl").read_bytes()
    states = [final_state(trained.experiment, folder) for folder in (tmp_path, trained.folder)]
    assert states[0] == states[1]
    assert ".mutable['centroids']['mean']" in states[0]
    assert all("train_aux_loss" in line for line in tiny.lines(tmp_path) if "train_loss" in line)


def test_an_evaluation_reads_them_and_leaves_them(trained):
    state = trained.experiment.create_state(0)
    before = as_bytes(state)
    measures = evaluate(trained.experiment, state, ("validation",))
    assert as_bytes(state) == before
    other = replace(state, mutable=jax.tree.map(lambda leaf: leaf + 1, state.mutable))
    assert evaluate(trained.experiment, other, ("validation",)) != measures


def test_members_have_those_of_each_alone(trained, tmp_path):
    runs = [given(trained.experiment, tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    train_members(trained.experiment, runs)
    for line, expected in zip(tiny.lines(tmp_path / "0"), tiny.lines(trained.folder), strict=True):
        assert line == pytest.approx(expected, rel=1e-4, abs=1e-5)


class Undeclared(nn.Module):
    """Writes what nobody reads: always, or in training alone; or changes what it keeps."""

    fault: str
    reads: ClassVar[tuple[str, ...]] = ("inputs",)
    mutable: ClassVar[tuple[str, ...]] = ("kept",)

    @nn.compact
    def __call__(self, inputs: jax.Array, *, deterministic: bool = True) -> jax.Array:
        logits = nn.Embed(7, 7, name="token")(inputs)
        if self.fault == "always" or (self.fault == "training" and not deterministic):
            self.sow("auxiliary", "entropy", logits.mean())
        if self.fault == "late" and not deterministic:
            self.variable("kept", "mean", jnp.zeros, 3)
        if self.fault == "narrowed":
            kept = self.variable("kept", "mean", jnp.zeros, 3)
            kept.value = kept.value if deterministic else kept.value.astype(jnp.bfloat16)
        return logits


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "always",
            r"^model Undeclared writes into the collection 'auxiliary', which nothing reads: ",
        ),
        (
            "training",
            r"^model Undeclared writes into the collection 'auxiliary', which nothing reads: ",
        ),
        (
            "late",
            r"^model Undeclared changes kept/mean from absent to float32\[3\] in a step: ",
        ),
        ("narrowed", r"^model Undeclared changes kept/mean from float32\[3\] to bfloat16\[3\] in a step: make it"),
    ],
)
def test_what_would_be_dropped_or_does_not_fit_is_refused(fault, message):
    model = Undeclared(fault)
    step = make_train_step(model, TASK, lambda _: (OPTIMIZER, RATE), mesh=MESH)

    def taken() -> Any:
        return step(create_state(model, {"inputs": BATCH["inputs"]}, OPTIMIZER, seed=0), BATCH, NO_RATE)

    with pytest.raises(Refused, match=message):
        jax.eval_shape(taken)


@pytest.mark.parametrize("declared", ["batch_stats", ("losses",), ("params", "batch_stats"), ("intermediates",)])
def test_declarations_that_cannot_be_are_refused(declared):
    with pytest.raises(Refused, match=r"^model 'wrong' has mutable=.*: give a tuple of names, such as \('batch_"):
        register("wrong")(type("Wrong", (Centred,), {"mutable": declared}))
