"""The training steps that run on JAX: ours as `launch.py train` runs it, and a hand-written one of the same model."""

import functools
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import Array

from attention_jax.base.errors import Refused
from attention_jax.bench import jax_side
from attention_jax.bench.cases import LeftOut, Process
from attention_jax.bench.steps import (
    BATCHES,
    BETAS,
    CLIP_NORM,
    EPSILON,
    LEARNING_RATE,
    LOSSES,
    SAMPLE_SECONDS,
    WEIGHT_DECAY,
    StepCase,
    token_batches,
    weights,
)
from attention_jax.bench.timing import Ready, seconds, timed
from attention_jax.data import Ahead, train_batches
from attention_jax.layers.paths import path_of
from attention_jax.training import Experiment, Outcome, config, train
from attention_jax.training.compiling import uncompiled
from attention_jax.training.parallel.host import keep_freed_memory
from attention_jax.training.step import make_train_step

DEMO = Path(__file__).resolve().parents[2] / "experiments" / "demo.py"
# A run of the whole loop that is timed: its steps, and those between two records, each a window of time.
STEPS, WINDOW = 600, 100
# Steps in one compiled program: what is left of a step when the host starts many at once.
STEPS_AT_ONCE = 200

Step = Callable[[Any, dict[str, Any]], tuple[Any, Array]]


def start(process: Process) -> dict[str, Any]:
    """Readies JAX for a process as `launch.py train` does, and returns its environment."""
    environment = jax_side.start(process)
    keep_freed_memory()
    return environment


def prepare(case: StepCase) -> Ready:
    """Compiles a case and makes it ready to be sampled.

    Raises:
      LeftOut: the experiment is refused at these sizes.
    """
    try:
        if case.quantity == "loop":
            return _to_loop(case)
        if case.quantity == "input":
            return _to_input(case)
        return _to_run(case) if case.experiment is None else _to_train(case)
    except Refused as refusal:
        raise LeftOut(f"refused: {refusal}") from refusal


@functools.cache
def experiment_of(case: StepCase) -> Experiment:
    """Returns what `launch.py train` would train: a benchmark of the demo, or the GPT on generated recall.

    Raises:
      Refused: the sizes do not fit each other.
    """
    every: dict[str, Any] = {"log": {"every": WINDOW, "tensorboard": False}, "evaluation": {"every": 0}, "steps": STEPS}
    if case.experiment is not None:
        found = config.plain(config.load(str(DEMO)).benchmarks[case.experiment])
        return Experiment(**{**found, **every})
    splits = {"train_examples": BATCHES * case.batch, "validation_examples": case.batch, "test_examples": case.batch}
    sizes = {"vocabulary_size": case.vocabulary, "length": case.tokens, "pairs": 1, "only_asked": False}
    rates = {"learning_rate": LEARNING_RATE, "weight_decay": WEIGHT_DECAY, "schedule": {"name": "constant"}}
    moments = {"b1": BETAS[0], "b2": BETAS[1], "eps": EPSILON, "clip_norm": CLIP_NORM}
    return Experiment(
        data={"name": "mqar", **sizes, **splits},
        model={"name": "gpt", "num_layers": case.layers, "num_heads": case.heads, "width": case.width},
        task={"name": "token_prediction"},
        optimizer={"name": "adamw", **rates, **moments},
        mesh={"data": -1 if case.process == "all_cores" else 1},
        batch_size=case.batch,
        **every,
    )


def _ours(case: StepCase, *, jitted: bool = False) -> tuple[Step, Any]:
    """The step of the loop and its state, with the weights that everyone starts from."""
    experiment = experiment_of(case)
    step, rate = experiment.compiled_step[0], experiment.put_rate(experiment.learning_rate)
    if jitted:
        parts = (experiment.model, experiment.task, experiment.optimizer_of)
        step = uncompiled(make_train_step(*parts, mesh=experiment.mesh, shardings=experiment.shardings))
    state = experiment.create_state(0)
    state = replace(state, params=_placed(state.params, weights(case)))

    def with_loss(state: Any, batch: dict[str, Any]) -> tuple[Any, Array]:
        state, metrics = step(state, batch, rate)
        return state, metrics["train_loss"]

    return with_loss, state


def _placed(params: Any, drawn: dict[str, np.ndarray]) -> Any:
    """The weights in the place of the parameters; each is one of them."""
    left = dict(drawn)
    placed = jax.tree_util.tree_map_with_path(
        lambda keys, leaf: jax.device_put(left.pop(path_of(keys)).reshape(leaf.shape), leaf.sharding), params
    )
    if left:
        raise ValueError(f"the model has no parameters {', '.join(left)}")
    return placed


def _plain(case: StepCase, *, jitted: bool = False) -> tuple[Step, Any]:
    """What one would write by hand: no mesh, no shardings, nothing but the loss. It is jitted in any case."""
    experiment = experiment_of(case)
    model, task, optimizer = experiment.model, experiment.task, experiment.optimizer

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: tuple[Any, Any], batch: dict[str, Any]) -> tuple[tuple[Any, Any], Array]:
        params, opt_state = state
        loss, gradients = jax.value_and_grad(lambda params: task.run(model, {"params": params}, batch)["loss"].mean)(
            params
        )
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    params = _placed(experiment.create_state(0).params, weights(case))
    return step, (params, optimizer.init(params))


SIDES: dict[str, Callable[..., tuple[Step, Any]]] = {"attention_jax": _ours, "plain jax.jit": _plain}


def _to_run(case: StepCase) -> Ready:
    step, state = SIDES[case.who](case)
    experiment = experiment_of(case)
    put = experiment.put if case.who == "attention_jax" else jax.device_put
    batches = [put(batch) for batch in token_batches(case)]
    losses = []
    for number in range(LOSSES):
        state, loss = step(state, batches[number % len(batches)])
        losses.append(float(loss))
    endless = itertools.cycle(batches)

    def call() -> None:
        nonlocal state
        state, _ = step(state, next(endless))
        jax.block_until_ready(state)

    return Ready(timed(call, at_least=SAMPLE_SECONDS), [losses], {"devices": experiment.mesh.size})


def _to_loop(case: StepCase) -> Ready:
    """The time of a step in a loop, without what the device takes for it in a loop that is compiled."""
    on_device = _on_device(case)
    of_loop = _ms_of_train if case.who == "attention_jax" else _ms_of_bare_loop
    of_loop(case)

    def sample() -> dict[str, Any]:
        device, step = on_device(), of_loop(case)
        return {"value": step - device, "device": device, "step": step}

    return Ready(sample, about={"devices": 1})


def _on_device(case: StepCase) -> Callable[[], float]:
    """Returns what measures the milliseconds of a step among many in one program."""
    step, state = SIDES[case.who](case, jitted=True)
    batch = jax.device_put(token_batches(case)[0])

    @functools.partial(jax.jit, donate_argnums=0)
    def many(state: Any, batch: dict[str, Any]) -> Any:
        return jax.lax.fori_loop(0, STEPS_AT_ONCE, lambda _, state: step(state, batch)[0], state)

    def call() -> None:
        nonlocal state
        state = jax.block_until_ready(many(state, batch))

    # Twice: the state that comes out lies as the program wants it, which compiles it once more.
    call()
    call()
    return lambda: 1e3 * seconds(call) / STEPS_AT_ONCE


def _trained(case: StepCase) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return train(experiment_of(case), Path(folder) / "run")


def _ms_of_train(case: StepCase) -> float:
    return _trained(case).ms_per_step


def _ms_of_bare_loop(case: StepCase) -> float:
    """The same data, shuffled, gathered where they are needed; the loss is looked at once in a window."""
    step, state = _plain(case)
    source = experiment_of(case).dataset.splits["train"]
    rng = np.random.default_rng(0)
    order = np.concatenate([rng.permutation(len(source)) for _ in range(STEPS // BATCHES + 1)])
    windows = []
    for first in range(0, STEPS, WINDOW):
        began = time.perf_counter()
        for number in range(first, first + WINDOW):
            state, loss = step(state, source.gather(order[number * case.batch :][: case.batch]))
        loss.block_until_ready()
        windows.append(1e3 * (time.perf_counter() - began) / WINDOW)
    return statistics.median(windows[1:])


def _to_train(case: StepCase) -> Ready:
    """A step in a whole run of one of the experiments, with the share that the loop waited while a step was running."""
    experiment = experiment_of(case)

    def sample() -> dict[str, Any]:
        outcome = _trained(case)
        return {"value": outcome.ms_per_step, "waited": outcome.input_share}

    return Ready(sample, about={"devices": experiment.mesh.size})


def _to_input(case: StepCase) -> Ready:
    """A batch read and put on the devices with nothing running beside it: what it costs if none of it is hidden."""
    experiment = experiment_of(case)
    source = experiment.dataset.splits["train"]
    batches = Ahead(train_batches(source, batch_size=experiment.batch_size, seed=0), experiment.put, depth=0)
    sample = timed(lambda: jax.block_until_ready(next(batches)), at_least=SAMPLE_SECONDS)
    return Ready(sample, about={"devices": experiment.mesh.size})
