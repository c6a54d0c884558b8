"""What a worker does with a cell, in a process of its own or in the supervisor's.

A cell whose config has the key "trainer", such as "tests.study.trivial:train", is trained by that function and not by
`attention_jax.training.train`: `function(config, folder, reporter)` gets the config without that key, the cell's
folder and the reporter, and returns a dict with at least `metric`, `score` and `steps`. It is how the engine is tested
without training, and how a study of something else runs on it. JAX is not imported for it.
"""

import importlib
import importlib.metadata
import math
import sys
import time
import traceback
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from attention_jax.base.options import with_tuples
from attention_jax.study.engine.compiler import Compiler, versions
from attention_jax.study.engine.reporter import Event, Pruned, Reporter, beating

# Programs that stay in memory, with their data sets; the others come from the cache on the disk.
_REMEMBERED = 8


class Session:
    """The cells that one process trains one after the other, with the programs that it has compiled for them."""

    def __init__(self, send: Callable[[Event], None], wanted: Callable[[], bool]):
        """Begins without a program.

        Args:
          send: takes each event: "step", "metric", "alive", "said"; the last two come from other threads too.
          wanted: waits for the answer to a "metric".
        """
        self._send, self._wanted = send, wanted
        self._experiments: OrderedDict[str, Any] = OrderedDict()
        self._compiler: Compiler | None = None

    def work(self, job: dict[str, Any]) -> list[Event]:
        """Trains the cells of a job, or tries whether one can be trained, and returns the events that end them.

        Args:
          job: `do`: "train" or "try"; `cells`: the `config`, `folder`, `log` (paths) and `tested` of each, of one
            program where there are several, which then train as members; `program`; `devices`: how many a cell has;
            `prunes`: whether to wait for an answer at each evaluation.

        Returns:
          "done" of each cell, with its place in the job as `cell` and a result's `status`, `reason`, `outcome` and
          `facts`; of a try the outcome has `ms_per_step`, `steps` and `compile_seconds`.

        Raises:
          KeyboardInterrupt: a signal came; cells in training were saved first.
        """
        before = Counter() if self._compiler is None else self._compiler.counts
        with ExitStack() as held:
            reporters = [held.enter_context(self._reporter(place, job)) for place in range(len(job["cells"]))]
            results = [
                _result(end, reporter) for end, reporter in zip(self._ends(job, reporters), reporters, strict=True)
            ]
        events: list[Event] = []
        for place, (status, reason, outcome) in enumerate(results):
            facts: dict[str, Any] = {"versions": versions(), "members": len(results)}
            if self._compiler is not None:
                # What was compiled is of the first.
                counts = self._compiler.counts.items()
                facts |= {name: 0 if place else count - before[name] for name, count in counts}
                facts |= {"device": self._compiler.device(), "devices": job["devices"]}
                facts["xla_level"] = self._compiler.level()
            ended = {"status": status, "reason": reason, "outcome": outcome, "facts": facts}
            events.append({"event": "done", "cell": place, **ended})
        return events

    @contextmanager
    def _reporter(self, place: int, job: dict[str, Any]) -> Iterator[Reporter]:
        log = Path(job["cells"][place]["log"])
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            wanted = self._wanted if job["prunes"] else None
            reporter = Reporter(lambda event: self._send({**event, "cell": place}), wanted, file)
            with beating(reporter):
                yield reporter

    def _ends(self, job: dict[str, Any], reporters: list[Reporter]) -> list[dict[str, Any] | Exception]:
        """Returns the outcome of each cell of a job, or why there is none."""
        if len(reporters) == 1 or "trainer" in job["cells"][0]["config"]:
            return [self._end(job, cell, reporter) for cell, reporter in zip(job["cells"], reporters, strict=True)]
        try:
            return self._members(job, reporters)
        except Exception as error:
            # As below, and it is the same for each.
            return [error] * len(reporters)

    def _end(self, job: dict[str, Any], cell: dict[str, Any], reporter: Reporter) -> dict[str, Any] | Exception:
        try:
            return self._outcome(job, cell, reporter)
        except Exception as error:
            # A user's variant may raise anything; what it was is in the log, and the other cells go on.
            return error

    def _members(self, job: dict[str, Any], reporters: list[Reporter]) -> list[dict[str, Any] | Exception]:
        from attention_jax.base.errors import Refused
        from attention_jax.study.engine.cells import program_and_run
        from attention_jax.training.given import given
        from attention_jax.training.members import train_members

        ends: dict[int, dict[str, Any] | Exception] = {}
        members = {}
        parts = [program_and_run(with_tuples(cell["config"])) for cell in job["cells"]]
        experiment = self._experiment(job["program"], parts[0][0], job["devices"])
        for place, (cell, (_, run)) in enumerate(zip(job["cells"], parts, strict=True)):
            reporters[place].metric = f"validation_{experiment.task.metric}"
            try:
                how = {"progress": reporters[place], "tested": cell["tested"]}
                members[place] = given(experiment, Path(cell["folder"]), **run, **how)
            except Refused as refusal:
                ends[place] = refusal
        trained = train_members(experiment, list(members.values())) if members else []
        for place, end in zip(members, trained, strict=True):
            ends[place] = end if isinstance(end, Exception) else dict(vars(end))
        return [ends[place] for place in range(len(reporters))]

    def _outcome(self, job: dict[str, Any], cell: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
        config = with_tuples(cell["config"])
        trainer = config.pop("trainer", None)
        folder = Path(cell["folder"])
        if trainer is not None:
            module, _, function = trainer.partition(":")
            if job["do"] == "try":
                return {}
            return dict(getattr(importlib.import_module(module), function)(config, folder, reporter))
        from attention_jax.study.engine.cells import program_and_run
        from attention_jax.training import train

        # What one cell has of its own, such as a rate below 0, is not refused to the others of its program.
        config, run = program_and_run(config)
        experiment = self._experiment(job["program"], config, job["devices"])
        reporter.metric = f"validation_{experiment.task.metric}"
        if job["do"] == "try":
            return _try(experiment)
        outcome = train(experiment, folder, **run, progress=reporter, tested=cell["tested"])  # type: ignore[arg-type]
        return dict(vars(outcome))

    def _experiment(self, program: str, config: dict[str, Any], devices: int) -> Any:
        """Returns the experiment of a program, which serves every seed and learning rate."""
        if self._compiler is None:
            self._compiler = Compiler()
        if program not in self._experiments:
            from attention_jax.study.engine.mesh import placed
            from attention_jax.training import Experiment

            self._experiments[program] = Experiment(**placed(config, devices))
            if len(self._experiments) > _REMEMBERED:
                self._experiments.popitem(last=False)
        self._experiments.move_to_end(program)
        return self._experiments[program]


def _result(end: dict[str, Any] | Exception, reporter: Reporter) -> tuple[str, str | None, dict[str, Any]]:
    """Returns the status, the reason and the outcome of a cell that ended so."""
    from attention_jax.base.errors import Refused

    if isinstance(end, Pruned):
        return "pruned", f"pruned at step {reporter.last['steps']}", reporter.last
    if isinstance(end, Refused):
        return "refused", str(end), {}
    if isinstance(end, Exception):
        reporter.note("".join(traceback.format_exception(end)).rstrip())
        return "failed", _words(end), {}
    for name, value in end.items():
        if isinstance(value, float) and not math.isfinite(value):
            return "failed", f"the run ended with {name} = {value}", {}
    return "done", None, end


def _try(experiment: Any) -> dict[str, Any]:
    """Compiles an experiment, takes a few steps and evaluates a batch; returns how long a step takes."""
    import jax

    from attention_jax.data import evaluation_batches, train_batches

    start = time.perf_counter()
    state, rate = experiment.create_state(experiment.seed), experiment.put_rate(experiment.learning_rate)
    rows = experiment.rows(experiment.batch_size)
    batches = train_batches(
        experiment.dataset.splits["train"], batch_size=experiment.batch_size, seed=experiment.seed, rows=rows
    )
    _ = experiment.compiled_step
    seconds = []
    for _ in range(3):
        batch = experiment.put(next(batches))
        began = time.perf_counter()
        state, _ = jax.block_until_ready(experiment.step_for(batch)(state, batch, rate))
        seconds.append(time.perf_counter() - began)
    held_out = experiment.dataset.splits["validation"]
    size = experiment.evaluation_batch_size
    batch = experiment.put(next(iter(evaluation_batches(held_out, batch_size=size, rows=experiment.rows(size)))))
    jax.block_until_ready(experiment.evaluate_batch(state.variables, batch))
    return {
        "ms_per_step": 1000 * min(seconds),
        "steps": experiment.steps,
        "compile_seconds": time.perf_counter() - start - sum(seconds),
    }


def _words(error: Exception) -> str:
    """Returns one line; a run that says itself why it failed is not named by its type."""
    text = " ".join(str(error).split())
    outcome = sys.modules.get("attention_jax.training.run.outcome")
    if outcome is not None and isinstance(error, outcome.RunFailed):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
