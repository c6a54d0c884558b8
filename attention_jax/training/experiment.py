"""An experiment: a config turned into a data set, a model, a task and an optimizer that fit each other."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import data as data_sets
from attention_jax import models, tasks
from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.data.seeds import check_seed
from attention_jax.kernels.parallel import Method
from attention_jax.layers.defaults import compute_dtype
from attention_jax.training.compiling import compiler_options
from attention_jax.training.duration import steps_of
from attention_jax.training.flops import Flops, count_flops
from attention_jax.training.optimizer import LEARNING_RATE, build_optimizer
from attention_jax.training.parallel.rules import parameter_specs, state_shardings
from attention_jax.training.parallel.sharding import by_rows, make_mesh, replicated, rows_of_process, split_batch
from attention_jax.training.sections import Checkpointing, Evaluation, Init, Logging, Section, section
from attention_jax.training.state import TrainState, begun, create_state
from attention_jax.training.step import Instability, make_collecting_step, make_evaluation_step, make_train_step
from attention_jax.training.weights import Weights, fitting_weights, with_weights

# What a step is compiled for: the shape of each array of a batch, by name.
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Cost:
    """What compiling a training step told.

    Attributes:
      compile_seconds: how long it took.
      peak_bytes: memory on one device while it runs: arguments, results and temporaries, what is donated counted once.
    """

    compile_seconds: float
    peak_bytes: int

    @classmethod
    def of(cls, compiled: Any, *, since: float) -> "Cost":
        """Returns that of a compiled step, begun at a time of `time.perf_counter`."""
        memory = compiled.memory_analysis()
        peak = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        return cls(time.perf_counter() - since, peak - memory.alias_size_in_bytes)


class Experiment:
    """One config, ready to be trained with any seed and learning rate, which share one compiled step, and evaluated."""

    def __init__(
        self,
        *,
        data: Section,
        model: Section,
        task: Section,
        optimizer: Section,
        batch_size: int,
        steps: int | None = None,
        epochs: float | None = None,
        examples: int | None = None,
        accumulation: int = 1,
        seed: int = 0,
        param_dtype: str = "float32",
        ema_decay: float | None = None,
        attention_parallel: Method = "ring",
        parameter_rules: tuple = (),
        mesh: Section | None = None,
        evaluation: Section | None = None,
        checkpoint: Section | None = None,
        log: Section | None = None,
        instability: Section | None = None,
        init: Section | None = None,
    ):
        """Builds everything and checks that it fits, without taking a step.

        Args:
          data: name and options of the data set.
          model: name and options of the model.
          task: name and options of the task.
          optimizer: name and options of the optimizer.
          batch_size: examples of one step.
          steps: the length of the run in steps, or
          epochs: in passes over the train split, or
          examples: in examples; exactly one of the three.
          accumulation: in how many parts a batch is run, one after the other.
          seed: what everything random in training is drawn from, 0 to 2^32 - 1.
          param_dtype: of the parameters and the optimizer's arrays; what the model computes in is `config.model.dtype`,
            and the statistics of a softmax are float32 whatever it is.
          ema_decay: of a moving average of the parameters, which is then what is evaluated; None keeps none.
          attention_parallel: how keys and queries meet when `mesh.sequence` spreads the tokens: "ring", "all_gather" or
            "all_to_all".
          parameter_rules: where parameters lie, before the model's own table: see `rules.parameter_specs`.
          mesh: the fields of `MeshSizes`.
          evaluation: the fields of `Evaluation`.
          checkpoint: the fields of `Checkpointing`.
          log: the fields of `Logging`.
          instability: the fields of `Instability`.
          init: the fields of `Init`.

        Raises:
          Refused: a section has an unknown key or a value that cannot be used, or the parts do not fit each other.
        """
        # What it was built from, for the folder of a run to be tied to.
        self.config = {name: value for name, value in locals().items() if name != "self"}
        self.seed, self.batch_size, self.accumulation = seed, batch_size, accumulation
        self.evaluation: Evaluation = section("evaluation", evaluation)
        self.checkpoint: Checkpointing = section("checkpoint", checkpoint)
        self.log: Logging = section("log", log)
        self.instability: Instability = section("instability", instability)
        self.init: Init = section("init", init)
        self.attention_parallel, self.ema_decay = attention_parallel, ema_decay
        self._param_dtype = compute_dtype(param_dtype).name
        _check_cadence(self)
        _check_choices(self)
        self.dataset = data_sets.build(data["name"], **_without_name(data))
        self.task = tasks.build(task["name"], **_without_name(task))
        self.model = models.build(model["name"], facts=self.dataset.facts, **_without_name(model))
        if self.evaluation.collect and not self.task.scores:
            raise Refused(
                f"evaluation.collect=True, and task {self.task.name} has no score that is collected: leave it False."
            )
        train = self.dataset.splits["train"]
        _check_batch(batch_size, accumulation, len(train))
        if accumulation > 1 and self.task.whole_batch:
            raise Refused(
                f"accumulation={accumulation}: task {self.task.name} compares the rows of a batch with each other, and "
                "a part of it has fewer to compare: use accumulation=1."
            )
        self.steps = steps_of(
            steps=steps, epochs=epochs, examples=examples, batch_size=batch_size, train_examples=len(train)
        )
        self.learning_rate: float = {"learning_rate": LEARNING_RATE, **optimizer}["learning_rate"]
        self.optimizer_of = lambda rate: build_optimizer(steps=self.steps, **{**optimizer, "learning_rate": rate})
        self.optimizer, _ = self.optimizer_of(self.learning_rate)
        self._freeze: tuple[str, ...] = {"freeze": (), **optimizer}["freeze"]
        self.evaluation_batch_size = self.evaluation.batch_size or batch_size // accumulation
        rows = common_rows(batch_size, accumulation, self.evaluation.batch_size)
        self.mesh = make_mesh(section("mesh", mesh), batch_size=rows)
        # The loop makes these in a folder; here they are refused before there is one.
        data_sets.train_batches(train, batch_size=batch_size, seed=seed, rows=self.rows(batch_size))
        self.rows(self.evaluation_batch_size)
        for split in self.dataset.splits:
            self.task.check(self.model, self._example(split))
        shapes = jax.eval_shape(lambda: self._state(0))
        self.parameters = _count(shapes.params)
        specs = parameter_specs(
            shapes.params, model_rules=models.parameter_rules(self.model), rules=parameter_rules, mesh=self.mesh
        )
        self.shardings = state_shardings(shapes, specs, self.mesh)
        # The shape, dtype and place of each array of the state.
        self.abstract_state: TrainState = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            self.shardings,
        )
        # The whole model, for each shape of a batch: what cannot be done is refused here and not at the first step.
        self._traced = {
            _shapes(batch): self.train_step.trace(self.abstract_state, batch, self.abstract_rate)
            for batch in self.abstract_batches
        }
        self.evaluate_batch, self.evaluate_slices = (
            make_evaluation_step(
                self.model, self.task, mesh=self.mesh, attention_parallel=attention_parallel, sliced=sliced
            )
            for sliced in (False, True)
        )
        # That what is collected cannot be is refused here and not at the end.
        if self.task.collect is not None:
            for batch in self._abstract_batches("validation", self.evaluation_batch_size):
                batch["valid"] = jax.ShapeDtypeStruct((self.evaluation_batch_size,), bool)
                state = self.abstract_state
                jax.eval_shape(self.collect_batch, state.variables, state.key, np.int32(0), batch)

    @property
    def collects(self) -> bool:
        """Whether each evaluation has the scores of the task, and not the end of a run alone."""
        return bool(self.task.scores) and (self.evaluation.collect or self.task.metric in self.task.scores)

    @property
    def score_name(self) -> str:
        """The measure that decides, on the split that it is reported on."""
        return f"{self.score_split}_{self.task.metric}"

    @property
    def score_split(self) -> str:
        """The split that the measure which decides is reported on."""
        return "test" if "test" in self.dataset.splits else "validation"

    @property
    def final_splits(self) -> tuple[str, ...]:
        """The splits that the end of a run, and an evaluation of it, report on: all that it is not trained on."""
        others = (split for split in self.dataset.splits if split not in ("train", "validation", "test"))
        return tuple(split for split in ("validation", "test", *others) if split in self.dataset.splits)

    def create_state(self, seed: int) -> TrainState:
        """Returns the state before the first step, on the devices of the mesh; a seed is 0 to 2^32 - 1."""
        # JAX takes a Python number for an int32, which half of the seeds are too large for.
        return self._compiled_state(np.uint32(seed))

    def weights(self, *, say: Callable[[str], None]) -> Weights:
        """Returns what `config.init` names, by the path of what each array stands for: see `fitting_weights`."""
        vocabulary = self.dataset.facts.get("vocabulary")
        return fitting_weights(self.init, self.abstract_state, vocabulary=vocabulary, say=say)

    def started_from(self, state: TrainState, weights: Mapping[str, np.ndarray]) -> TrainState:
        """Returns the state before the first step with these weights, by path, in place of those that were drawn."""
        collections = with_weights(state, weights)
        places = (self.shardings.opt_state, self.shardings.average)
        begin = jax.jit(self._begun, out_shardings=places, compiler_options=compiler_options("state"))
        opt_state, average = begin(collections["params"])
        return replace(state, **collections, opt_state=opt_state, average=average)

    def _begun(self, params: Any) -> tuple[Any, Any]:
        return begun(params, self.optimizer, with_average=self.ema_decay is not None)

    def put(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Returns a batch on the devices of the mesh."""
        return split_batch(self.mesh, batch)

    def put_rate(self, learning_rate: float) -> jax.Array:
        """Returns a learning rate on the devices of the mesh, as the step takes it."""
        return jax.make_array_from_callback((), replicated(self.mesh), lambda _: np.float32(learning_rate))

    @property
    def abstract_rate(self) -> jax.ShapeDtypeStruct:
        """The shape, dtype and place of a learning rate."""
        return jax.ShapeDtypeStruct((), jnp.float32, sharding=replicated(self.mesh))

    @property
    def abstract_batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        """The shape, dtype and place of each array of a training batch, the longest where there are several lengths."""
        return self.abstract_batches[-1]

    @cached_property
    def abstract_batches(self) -> list[dict[str, jax.ShapeDtypeStruct]]:
        """The arrays of a training batch of each length there is, shortest first."""
        return self._abstract_batches("train", self.batch_size)

    def _abstract_batches(self, split: str, size: int) -> list[dict[str, jax.ShapeDtypeStruct]]:
        source, sharding = self.dataset.splits[split], by_rows(self.mesh)
        rows = [source.gather(np.array([example])) for example in data_sets.shape_examples(source)]
        return [
            {
                name: jax.ShapeDtypeStruct((size, *array.shape[1:]), array.dtype, sharding=sharding)
                for name, array in row.items()
            }
            for row in rows
        ]

    def rows(self, batch_size: int) -> slice:
        """Returns which rows of a batch this process reads."""
        return rows_of_process(self.mesh, batch_size)

    def step_for(self, batch: dict[str, Any]) -> Any:
        """Returns the training step compiled for batches of this shape: of a state, a batch, a learning rate."""
        return self._steps[_shapes(batch)]

    def flops_of(self, batch: dict[str, Any]) -> Flops:
        """Returns the work of a training step on batches of this shape."""
        return self._flops[_shapes(batch)]

    @cached_property
    def _flops(self) -> dict[Shapes, Flops]:
        return {shapes: count_flops(traced.jaxpr.jaxpr) for shapes, traced in self._traced.items()}

    @cached_property
    def _steps(self) -> dict[Shapes, Any]:
        return {shapes: traced.lower().compile() for shapes, traced in self._traced.items()}

    @cached_property
    def compiled_step(self) -> tuple[Any, Cost]:
        """The training step compiled for the mesh, for the longest batch, and what compiling took for all lengths."""
        start = time.perf_counter()
        compiled = self.step_for(self.abstract_batch)
        return compiled, Cost.of(compiled, since=start)

    @cached_property
    def _compiled_state(self) -> Any:
        return jax.jit(self._state, out_shardings=self.shardings, compiler_options=compiler_options("state"))

    @cached_property
    def collect_batch(self) -> Any:
        """What gives the rows of an evaluation batch that the task's scores are of: see `make_collecting_step`."""
        return make_collecting_step(self.model, self.task, mesh=self.mesh, attention_parallel=self.attention_parallel)

    @cached_property
    def train_step(self) -> Any:
        """The training step as a function to compile: see `make_train_step`."""
        return make_train_step(
            self.model,
            self.task,
            self.optimizer_of,
            mesh=self.mesh,
            shardings=self.shardings,
            attention_parallel=self.attention_parallel,
            accumulation=self.accumulation,
            ema_decay=self.ema_decay,
            instability=self.instability,
            layer_norms=self.log.layer_norms,
            freeze=self._freeze,
        )

    def _state(self, seed: int) -> TrainState:
        example = models.arrays_of(self.model, self._example("train"))
        return create_state(
            self.model,
            {name: jnp.zeros(array.shape, array.dtype) for name, array in example.items()},
            self.optimizer,
            seed=seed,
            param_dtype=self._param_dtype,
            with_average=self.ema_decay is not None,
        )

    def _example(self, split: str) -> dict[str, np.ndarray]:
        return self.dataset.splits[split].gather(np.zeros(1, np.int64))


def _shapes(batch: Mapping[str, Any]) -> Shapes:
    return tuple(sorted((name, array.shape) for name, array in batch.items()))


def _without_name(section: Section) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != "name"}


def common_rows(batch_size: int, accumulation: int, evaluation_rows: int | None) -> int:
    """Returns the number of rows that every batch which is run at once is a multiple of.

    Args:
      batch_size: examples of one step.
      accumulation: in how many parts a batch is run.
      evaluation_rows: of an evaluation batch; None is that of training.
    """
    rows = batch_size // accumulation
    return math.gcd(rows, evaluation_rows or rows)


def _check_cadence(experiment: Experiment) -> None:
    check_seed(experiment.seed, name="seed")
    for name, asked in (
        (f"evaluation.patience={experiment.evaluation.patience}", experiment.evaluation.patience > 0),
        (f"evaluation.target={experiment.evaluation.target}", experiment.evaluation.target is not None),
        ("checkpoint.best=True", experiment.checkpoint.best),
    ):
        if asked and not experiment.evaluation.every:
            raise Refused(f"{name} compares evaluations, and evaluation.every=0 makes one, at the end: give a cadence.")


def _check_choices(experiment: Experiment) -> None:
    instability, decay = experiment.instability, experiment.ema_decay
    for name, value, choices in (
        ("attention_parallel", experiment.attention_parallel, get_args(Method)),
        ("instability.action", instability.action, ("stop", "skip")),
    ):
        if value not in choices:
            raise Refused(f"there is no {name} {value!r}.{did_you_mean(str(value), choices)}")
    if decay is not None and not 0 < decay < 1:
        raise Refused(f"ema_decay={decay}: give a number between 0 and 1, such as 0.999, or None for no average.")
    if instability.spike is not None and instability.spike <= 1:
        raise Refused(f"instability.spike={instability.spike}: give a number above 1, such as 5, or None.")


def _check_batch(batch_size: int, accumulation: int, train_examples: int) -> None:
    if batch_size < 1:
        raise Refused(f"batch_size={batch_size}: give at least 1.")
    if batch_size > train_examples:
        raise Refused(
            f"batch_size={batch_size} is larger than the train split ({train_examples} examples): give at most that."
        )
    if accumulation < 1 or batch_size % accumulation:
        raise Refused(f"accumulation={accumulation} does not divide batch_size={batch_size}: give a divisor of it.")


def _count(params: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
