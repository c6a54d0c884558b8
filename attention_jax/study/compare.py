"""Trains every benchmark with every variant and every seed, and continues where a killed comparison stopped."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from attention_jax.base.errors import Refused
from attention_jax.base.formatting import readable_seconds
from attention_jax.study.plan import Plan, Trial, run_folder
from attention_jax.study.results import OF_OUTCOME, Result, read_results, unfinished, write_results
from attention_jax.training.outcome import Outcome, RunFailed

__all__ = ["Cell", "Plan", "Result", "Trial", "compare"]


class Cell(Protocol):
    """One benchmark with one variant, built once so that its seeds share one compiled step."""

    def train(self, workdir: Path, *, seed: int) -> Outcome:
        """Trains from `seed` in the folder `workdir`, continuing what an earlier run left there.

        Raises:
          Refused: the variant cannot do the job.
          RunFailed: the run could not be finished.
        """


def compare(
    plan: Plan,
    build: Callable[[str, str], Cell],
    workdir: Path,
    *,
    announce: Callable[[str], None] = print,
) -> list[Result]:
    """Runs the trials of `plan` that `workdir` has no result for, and returns the results of all, in plan order.

    `workdir/results.jsonl` is rewritten, atomically, after each trial. Lines with the status `done` or `refused` are
    kept, `failed` trials are tried again. A trial that fails does not stop the others. Lines of trials outside the
    plan are kept in the file and not returned.

    Args:
      plan: what to run.
      build: takes a benchmark and a variant spec, returns what trains them; may raise Refused. Called only for the
        pairs that have a seed to run.
      workdir: where results.jsonl and the folders of the runs go.
      announce: takes each line of progress.

    Raises:
      Refused: results.jsonl holds a line that is not a result.
    """
    ledger = _Ledger(workdir / "results.jsonl", plan=plan, announce=announce)
    for benchmark in plan.benchmarks:
        for variant in plan.variants:
            trials = [Trial(benchmark, variant, seed) for seed in plan.seeds]
            _run_cell([trial for trial in trials if ledger.lacks(trial)], build, workdir, ledger)
    return [ledger.results[trial] for trial in plan.trials()]


class _Ledger:
    """The results so far, on disk after every change, and the progress lines about them."""

    def __init__(self, path: Path, *, plan: Plan, announce: Callable[[str], None]):
        self.results = read_results(path)
        self.announce = announce
        self._path = path
        self._planned = list(plan.trials())
        self._foreign = [trial for trial in self.results if trial not in set(self._planned)]
        self._trained_seconds: list[float] = []
        self._announce_kept()

    def lacks(self, trial: Trial) -> bool:
        """Returns whether `trial` has to run: it has no result, or it failed."""
        return trial not in self.results or self.results[trial].status == "failed"

    def record(self, result: Result, *, seconds: float) -> None:
        """Adds `result`, of a trial that took `seconds` of wall time, to the file."""
        self.results[result.trial] = result
        order = [trial for trial in (*self._planned, *self._foreign) if trial in self.results]
        write_results(self._path, [self.results[trial] for trial in order])
        if result.status == "done":
            self._trained_seconds.append(seconds)
            news = f"{result.metric} {result.score:.4g} in {readable_seconds(seconds)}{self._time_left(result.trial)}"
        else:
            news = f"{result.status}: {result.reason}"
        self.say(result.trial, news)

    def say(self, trial: Trial, news: str) -> None:
        """Announces `news` of `trial`, with its place in the plan."""
        self.announce(f"[{self._planned.index(trial) + 1}/{len(self._planned)}] {trial}: {news}")

    def _time_left(self, trial: Trial) -> str:
        left = sum(self.lacks(later) for later in self._planned[self._planned.index(trial) + 1 :])
        mean_seconds = sum(self._trained_seconds) / len(self._trained_seconds)
        return f", about {readable_seconds(left * mean_seconds)} left" if left else ""

    def _announce_kept(self) -> None:
        kept = sum(not self.lacks(trial) for trial in self._planned)
        if kept:
            self.announce(
                f"keeping {kept} of {len(self._planned)} results in {self._path}; "
                "to run one of them again, delete its line and its folder under runs"
            )
        if self._foreign:
            self.announce(f"leaving {len(self._foreign)} results in {self._path} as they are: not in this plan")


def _run_cell(missing: list[Trial], build: Callable[[str, str], Cell], workdir: Path, ledger: _Ledger) -> None:
    """Runs the trials that one benchmark and one variant lack."""
    if not missing:
        return
    try:
        cell = build(missing[0].benchmark, missing[0].variant)
    except Refused as refusal:
        for trial in missing:
            ledger.record(unfinished(trial, status="refused", reason=str(refusal)), seconds=0.0)
        return
    for trial in missing:
        ledger.say(trial, "training")
        start = time.monotonic()
        result = _train(cell, trial, run_folder(workdir, trial))
        ledger.record(result, seconds=time.monotonic() - start)


def _train(cell: Cell, trial: Trial, folder: Path) -> Result:
    try:
        outcome = cell.train(folder, seed=trial.seed)
    except Refused as refusal:
        return unfinished(trial, status="refused", reason=str(refusal))
    except RunFailed as failure:
        return unfinished(trial, status="failed", reason=str(failure))
    for name, value in vars(outcome).items():
        if isinstance(value, float) and not math.isfinite(value):
            return unfinished(trial, status="failed", reason=f"the run ended with {name} = {value}")
    return Result(
        benchmark=trial.benchmark,
        variant=trial.variant,
        seed=trial.seed,
        **{name: getattr(outcome, name) for name in OF_OUTCOME},
        status="done",
        reason=None,
    )
