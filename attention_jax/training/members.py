"""Members: runs of one program that differ in seed and learning rate, trained as one vmapped step.

Each is a run in a folder of its own, as one that is trained alone: its losses are those but for rounding, and its
checkpoints let it go on alone or among others. Of one that fails the numbers are computed on and left out.
"""

import functools
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.training.collecting import scores_with
from attention_jax.training.compiling import compiler_options, uncompiled
from attention_jax.training.evaluations import evaluate_with
from attention_jax.training.experiment import Cost, Experiment
from attention_jax.training.given import Given
from attention_jax.training.loop import Alone, Steps, Told, go
from attention_jax.training.parallel.sharding import by_rows
from attention_jax.training.run.interrupt import Interrupted, Notice, noticed
from attention_jax.training.run.outcome import Outcome, RunFailed
from attention_jax.training.run.watch import Pulse
from attention_jax.training.running import Run, opened, write_outcome
from attention_jax.training.state import TrainState

Ended = Outcome | Refused | RunFailed


def check_members(experiment: Experiment) -> None:
    """Refuses what members cannot do: they take each step together.

    Raises:
      Refused: runs of the experiment end each at its own step, or have steps of several shapes, or several devices.
    """
    for said, why in (
        (experiment.evaluation.patience > 0 and "evaluation.patience", "ends each run at a step of its own"),
        (experiment.evaluation.target is not None and "evaluation.target", "ends each run at a step of its own"),
        (experiment.checkpoint.best and "checkpoint.best", "scores each run by a state of its own"),
        (len(experiment.abstract_batches) > 1 and "data in buckets", "gives each run batches of another length"),
        (experiment.mesh.size > 1 and f"a mesh of {experiment.mesh.size} devices", "spreads one run over them"),
    ):
        if said:
            raise Refused(f"members take each step together, and {said} {why}: use --members=1.")


def train_members(experiment: Experiment, members: Sequence[Given]) -> list[Ended]:
    """Trains members to the last step, from the last checkpoint of each; those that are at one step together.

    Args:
      experiment: what to train.
      members: their seeds, learning rates and folders.

    Returns:
      The outcome of each, or why there is none; that of one stops no other.

    Raises:
      Refused: the experiment has no members.
      Interrupted: a signal came; each was saved first.
    """
    check_members(experiment)
    ended: dict[int, Ended] = {}
    runs: dict[int, Run] = {}
    pulse = Pulse()
    with ExitStack() as held, noticed(pulse, members[0].progress.say) as notice:
        try:
            for place, member in enumerate(members):
                try:
                    runs[place] = opened(experiment, member, held=held, pulse=pulse, placed=False)
                except (Refused, RunFailed) as failure:
                    ended[place] = failure
            in_order = sorted(runs, key=lambda place: runs[place].step)
            for _, group in groupby(in_order, key=lambda place: runs[place].step):
                ended |= _trained(experiment, {place: runs[place] for place in group}, notice=notice, pulse=pulse)
        except Interrupted:
            for run in runs.values():
                if run.failure is None:
                    with run.failing():
                        run.save(last=True)
            raise
        finally:
            for run in runs.values():
                run.close()
    return [ended[place] for place in range(len(members))]


class Together:
    """The steps of several runs that are at one step, as one."""

    def __init__(self, experiment: Experiment, runs: Sequence[Run]):
        self._experiment, self._runs, self.members = experiment, runs, len(runs)
        self._program = _compiled(experiment, len(runs))
        self.cost = self._program.cost
        self._rates = np.array([run.given.learning_rate for run in runs], np.float32)
        self._state: TrainState = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(run.state() for run in runs))
        self._metrics: dict[str, Any] = {}
        for place, run in enumerate(runs):
            run.state = functools.partial(self._state_of, place)

    def take(self) -> None:
        """Takes a step of every run, also of those that go no further."""
        began = time.perf_counter()
        batches, tokens = zip(*(next(run.batches) for run in self._runs), strict=True)
        batch = self._experiment.put({name: np.stack([each[name] for each in batches]) for name in batches[0]})
        waited = time.perf_counter() - began
        self._state, self._metrics = self._program.step(self._state, batch, self._rates)
        pulse, flops = self._runs[0].pulse, self._experiment.flops_of(batches[0]).count
        if pulse.knows_none:
            # So that there is a time to compare the others with.
            jax.block_until_ready(self._metrics)
            pulse.rest()
        for run, count in zip(self._runs, tokens, strict=True):
            run.step += 1
            run.meter.step(waited=waited, tokens=count, flops=flops)

    def told(self) -> list[Told]:
        """Returns what the last step gave to each."""
        values, bad_steps, skipped = jax.device_get((self._metrics, self._state.bad_step, self._state.skipped))
        return [
            ({name: value[place] for name, value in values.items()}, int(bad_steps[place]), int(skipped[place]))
            for place in range(self.members)
        ]

    def measure(self, splits: tuple[str, ...], *, notice: Notice) -> list[dict[str, float]]:
        """Returns the measures of each state."""

        def alive() -> None:
            for run in self._runs:
                run.alive()

        experiment, variables, keys = self._experiment, self._state.variables, self._state.key
        measures = evaluate_with(
            lambda batch: self._program.evaluate(variables, batch), experiment, splits, notice=notice, alive=alive
        )
        if not experiment.collects:
            return measures
        scores = scores_with(
            lambda batch, number: self._program.collect(variables, keys, number, batch),
            experiment,
            splits,
            notice=notice,
            alive=alive,
        )
        return [of_measures | of_scores for of_measures, of_scores in zip(measures, scores, strict=True)]

    def _state_of(self, place: int) -> TrainState:
        return jax.tree.map(lambda leaf: leaf[place], self._state)


@dataclass(frozen=True)
class _Program:
    """What is compiled for a number of members: (states, batches, rates) -> (states, metrics), and the evaluations."""

    step: Any
    evaluate: Any
    collect: Any
    cost: Cost


@functools.lru_cache(maxsize=8)
def _compiled(experiment: Experiment, members: int) -> _Program:
    start = time.perf_counter()
    given = (experiment.abstract_state, experiment.abstract_batch, experiment.abstract_rate)
    stacked = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((members, *leaf.shape), leaf.dtype, sharding=by_rows(experiment.mesh)), given
    )
    try:
        step = jax.vmap(uncompiled(experiment.train_step))
        jitted = jax.jit(step, donate_argnums=0, compiler_options=compiler_options("step"))
        lowered = jitted.lower(*stacked)
    except NotImplementedError as error:
        raise Refused(f"it does not train as members, since JAX cannot vmap it ({error}): use --members=1.") from error
    compiled = lowered.compile()
    evaluation = jax.vmap(uncompiled(experiment.evaluate_batch), in_axes=(0, None))
    evaluate = jax.jit(evaluation, compiler_options=compiler_options("evaluation"))
    collect = None
    if experiment.collects:
        collection = jax.vmap(uncompiled(experiment.collect_batch), in_axes=(0, 0, None, None))
        collect = jax.jit(collection, compiler_options=compiler_options("evaluation"))
    return _Program(compiled, evaluate, collect, Cost.of(compiled, since=start))


def _trained(experiment: Experiment, runs: dict[int, Run], *, notice: Notice, pulse: Pulse) -> dict[int, Ended]:
    """Trains runs that are at one step; returns what became of each."""
    ended: dict[int, Ended] = {}
    group = list(runs.values())
    steps: Steps = Alone(group[0]) if len(group) == 1 else Together(experiment, group)
    go(group, steps, notice=notice, pulse=pulse)
    for place, run in runs.items():
        try:
            outcome = ended[place] = run.finish(steps.cost, members=steps.members, notice=notice)
            write_outcome(run.given.workdir, outcome)
        except RunFailed as failure:
            ended[place] = failure
    return ended
