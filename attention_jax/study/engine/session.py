"""What a worker does with a cell, in a process of its own or in the supervisor's.

A cell whose config has the key "trainer", such as "tests.study.trivial:train", is trained by that function and not by
`attention_jax.training.train`: `function(config, folder, reporter)` gets the config without that key, the cell's
folder and the reporter, and returns a dict with at least `metric`, `score` and `steps`. It is how the engine is tested
without training, and how a study of something else runs on it. JAX is not imported for it.
"""

import functools
import importlib
import importlib.metadata
import math
import platform
import sys
import threading
import time
import traceback
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

# Programs that stay in memory, with their data sets; the others come from the cache on the disk.
_REMEMBERED = 8
# Between two events of one kind.
_EVENT_SECONDS = 0.5
# How JAX's warning begins where an entry of the cache on the disk is there and cannot be loaded.
_REFUSED_ENTRY = "Error reading persistent compilation cache entry"
_PACKAGES = ("attention_jax", "jax", "jaxlib", "flax", "optax", "numpy")
Event = dict[str, Any]


class Pruned(Exception):
    """The source of a cell does not want it to go on."""


class Reporter:
    """What a run is told to tell, in place of `training.Progress`: lines go to the log, the rest are events.

    Attributes:
      metric: the measure that `wants` is asked with; None takes the first of an evaluation.
      step: the last step that was begun or recorded.
      count: grows with everything that is heard: a run whose count stands still is stuck.
      last: what the evaluation that pruned the cell gave.
    """

    def __init__(self, send: Callable[[Event], None], wanted: Callable[[], bool] | None, log: TextIO):
        """Begins a cell.

        Args:
          send: takes each event.
          wanted: waits for the answer to the evaluation that was sent last; None where nobody prunes.
          log: where lines go.
        """
        self.metric: str | None = None
        self.step, self.count = 0, 0
        self.last: dict[str, Any] = {}
        self._send, self._wanted, self._log = send, wanted, log
        self._sent, self._sent_count = -math.inf, 0

    def say(self, message: str) -> None:
        """Prints a line to the log, and tells it."""
        self.note(message)
        self._send({"event": "said", "line": message})

    def note(self, message: str) -> None:
        """Prints a line to the log."""
        print(message, file=self._log, flush=True)

    def clear(self) -> None:
        """Does nothing: a log has no line that renews itself."""

    def alive(self, step: int) -> None:
        """Hears that a step begins, or a batch of an evaluation after it."""
        self.step = step
        self.count += 1

    def update(self, *, step: int, steps: int, rate: float, values: dict[str, float], beside: str = "") -> None:
        """Tells where the run is: `rate` is in steps a second."""
        self.alive(step)
        now = time.monotonic()
        if now - self._sent >= _EVENT_SECONDS or step == steps:
            self._sent = now
            self._send({"event": "step", "step": step, "steps": steps, "rate": rate, "values": _finite(values)})

    def measured(self, step: int, measures: dict[str, float]) -> None:
        """Tells the measures of an evaluation.

        Raises:
          Pruned: the cell is not wanted any more.
        """
        self.alive(step)
        metric = self.metric or next(iter(measures))
        if metric not in measures:
            return
        self._send({"event": "metric", "step": step, "metric": metric, "value": measures[metric]})
        if self._wanted is not None and not self._wanted():
            self.last = {"metric": metric, "score": measures[metric], "steps": step}
            raise Pruned

    def beat(self) -> None:
        """Tells that the run is not stuck, where it has done something since the last time."""
        if self.count != self._sent_count:
            self._sent_count = self.count
            self._send({"event": "alive", "step": self.step})


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
            with _beating(reporter):
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
        from attention_jax.training.members import train_members
        from attention_jax.training.run import given

        ends: dict[int, dict[str, Any] | Exception] = {}
        members = {}
        parts = [program_and_run(_with_tuples(cell["config"])) for cell in job["cells"]]
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
        config = _with_tuples(cell["config"])
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


class Compiler:
    """What XLA compiles in this process, counted."""

    def __init__(self) -> None:
        import jax

        from attention_jax.kernels.supported import check_jax
        from attention_jax.training.host import keep_freed_memory

        keep_freed_memory()
        check_jax()
        self._requests, self._hits, self._refused = 0, 0, 0
        jax.monitoring.register_event_listener(self._event)
        jax.monitoring.register_event_duration_secs_listener(self._duration)
        # Of an entry that is there and cannot be used JAX says so by a warning alone; by default each is shown once.
        warnings.filterwarnings("always", message=_REFUSED_ENTRY)
        self._show, warnings.showwarning = warnings.showwarning, self._warned

    @property
    def counts(self) -> Counter[str]:
        """How many programs were compiled so far, came from the cache in place of it, and were refused by the cache."""
        compiled = self._requests - self._hits
        return Counter(compilations=compiled, cache_hits=self._hits, cache_refused=self._refused)

    def device(self) -> str:
        """Returns what it compiles for, such as "cpu"."""
        import jax

        return jax.devices()[0].device_kind

    def level(self) -> str | None:
        """Returns at which of XLA's levels it compiles."""
        from attention_jax.training.compiling import xla_level

        return xla_level()

    def _event(self, event: str, **kwargs: Any) -> None:
        self._hits += event == "/jax/compilation_cache/cache_hits"

    def _warned(self, message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        self._refused += str(message).startswith(_REFUSED_ENTRY)
        self._show(message, category, *where, **more)

    def _duration(self, event: str, duration_secs: float, **kwargs: Any) -> None:
        # Of every program, also where it came from the cache.
        self._requests += event == "/jax/core/compile/backend_compile_duration"


@functools.cache
def versions() -> dict[str, str]:
    """Returns what results depend on: the version of each package that is here, and Python's."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


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


@contextmanager
def _beating(reporter: Reporter) -> Iterator[None]:
    """Tells every second whether the run within has gone on."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(1.0):
            reporter.beat()

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _words(error: Exception) -> str:
    """Returns one line; a run that says itself why it failed is not named by its type."""
    text = " ".join(str(error).split())
    outcome = sys.modules.get("attention_jax.training.outcome")
    if outcome is not None and isinstance(error, outcome.RunFailed):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _with_tuples(value: Any) -> Any:
    """JSON has no tuples, and options of a model must be hashable."""
    if isinstance(value, dict):
        return {key: _with_tuples(part) for key, part in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, (list, tuple)) else value
