"""A sweep: its settings from the command and the config file, the run, and what it ends with."""

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.base.options import check_options
from attention_jax.data.seeds import check_seed
from attention_jax.study import sweep_end
from attention_jax.study.base_config import Base
from attention_jax.study.engine import RETRIES, check_members_asked, held, run_cells
from attention_jax.study.places import this_machine
from attention_jax.study.samplers import NO_PRUNER, make_pruner, make_sampler
from attention_jax.study.session import on_one_core
from attention_jax.study.space import Points, Space, read_space
from attention_jax.study.store import storage_url
from attention_jax.study.sweep_plan import Sweep
from attention_jax.study.sweep_report import write_report
from attention_jax.study.sweep_source import SweepSource, put_back
from attention_jax.study.sweep_store import open_study, shown
from attention_jax.training import Experiment, Progress, config
from attention_jax.training.members import check_members
from attention_jax.training.workdir import usable


@dataclass(frozen=True)
class Settings:
    """The section `sweep` of a config file; each is an option of the command too.

    Attributes:
      sampler: "tpe", "random", "grid" or "quasi_random".
      pruner: "none", "successive_halving" or "median", with options such as "median:trials=5".
      seed: of the sampler.
      trials: how many; None is 30, and of a grid all of its points.
      best: how many of the best run again.
      fresh_seeds: on how many seeds that the search did not use.
    """

    sampler: str = "tpe"
    pruner: str = NO_PRUNER
    seed: int = 0
    trials: int | None = None
    best: int = 3
    fresh_seeds: int = 3

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kind = str if field.name in ("sampler", "pruner") else int
            if type(value) is not kind and not (field.name == "trials" and value is None):
                raise Refused(f"sweep.{field.name}={value!r}: it takes {kind.__name__}.")
        for name, least in (("trials", 1), ("best", 0), ("fresh_seeds", 0)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise Refused(f"{name}={getattr(self, name)}: give at least {least}.")
        check_seed(self.seed, name="sweep.seed")


_TRIALS = 30
_LOG_WIDTH = 120  # columns, where no terminal says how many there are


def read_sweep(spec: str, overrides: Mapping[str, str], *, space: str | None, given: Mapping[str, Any]) -> Sweep:
    """Returns the sweep of a config file and the options of the command, everything checked.

    Args:
      spec: "FILE.py" or "FILE.py:ARG": an experiment, with the keys `space` and `sweep` where the command does not say.
      overrides: keys of the config that the command sets.
      space: in place of the file's.
      given: fields of `Settings` in place of the file's; None is not given.

    Raises:
      Refused: the file, a key, a range, a value or an option cannot be used.
    """
    raw = config.read(spec)
    if config.is_comparison(raw):
        raise Refused(f"{spec} is a comparison of {', '.join(raw.benchmarks)}: a sweep takes one experiment.")
    of_file, section = raw.get("space"), raw.get("sweep", ConfigDict())
    if space is None and of_file is None:
        raise Refused(f"there is no space: give --space=KEY=RANGE, or the key space in {spec}.")
    if not isinstance(section, ConfigDict):
        raise Refused(f"config.sweep={section!r}: it is a section; give a dict of its keys.")
    options = {**section.to_dict(), **{name: value for name, value in given.items() if value is not None}}
    check_options(Settings, options, owner="config.sweep")
    settings = Settings(**options)
    base = Base(config.without_sweep(raw), overrides, spec)
    return sweep_of(base, read_space(of_file if space is None else space), settings)


def sweep_of(base: Base, space: Space | Points, settings: Settings) -> Sweep:
    """Returns the sweep of a space, which is checked; raises as `read_sweep`."""
    make_sampler(settings.sampler, seed=settings.seed)
    make_pruner(settings.pruner, every=base.config()["evaluation"]["every"])
    checked = base.check(space)
    if settings.sampler == "grid":
        checked = checked if isinstance(checked, Points) else checked.points()
    elif isinstance(checked, Points):
        raise Refused(f"the space is {checked}, and {settings.sampler} draws from ranges: give --sampler=grid.")
    trials = _TRIALS if settings.trials is None else settings.trials
    if isinstance(checked, Points):
        trials = len(checked.points) if settings.trials is None else min(settings.trials, len(checked.points))
    return Sweep(
        base=base,
        space=checked,
        sampler=settings.sampler,
        pruner=settings.pruner,
        seed=settings.seed,
        trials=trials,
        best=settings.best,
        fresh_seeds=settings.fresh_seeds,
    )


def run_sweep(
    sweep: Sweep,
    workdir: Path,
    *,
    workers: int | None,
    storage: str | None,
    retry: str | None,
    members: int = 1,
    command: str,
) -> int:
    """Runs the trials that are missing and the best of them on fresh seeds; writes and prints what was found.

    Args:
      sweep: what to search.
      workdir: its folder.
      workers: how many processes train; None is one a core or device, 0 trains in this process.
      storage: the URL of a database in place of the file in the folder.
      retry: "failed" or "refused" runs trials that ended so again.
      members: how many runs of one program, at most, are trained as one.
      command: what the user typed.

    Returns:
      0; 1 where no trial ran to its end, or none of the best on every fresh seed.

    Raises:
      Refused: the folder or the storage cannot be used, or holds a sweep of something else.
      Interrupted: a signal came; the trials in training were saved first.
      RunFailed: no worker starts, or the storage does not answer any more.
    """
    url, say = storage_url(workdir, storage), Progress().say
    # Before there is a study: `run_cells` refuses them too, and later.
    this_machine().workers(workers)
    check_retry(retry)
    check_members_asked(members, prunes=sweep.pruner != NO_PRUNER)
    if members > 1:
        check_members(Experiment(**on_one_core(sweep.base.config())))
    with usable(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
    with held(workdir, alone=url.startswith("sqlite")):
        study = open_study(url, workdir.resolve().name or "sweep", sweep, say=say)
        if retry is not None:
            put_back(study, status=retry, say=say)
    metric = sweep.base.task.metric
    source = SweepSource(study, sweep, objective=sweep_end.validation_score(workdir, metric), announce=say)
    run_cells(source, workdir, workers=workers, retry=retry, storage=storage, members=members)
    return _report(source, workdir, url=url, command=command)


def check_retry(retry: str | None) -> None:
    """Raises Refused where no trials end in what is to run again."""
    if retry is not None and retry not in RETRIES:
        raise Refused(f"--retry={retry}: give {' or '.join(RETRIES)}.{did_you_mean(retry, RETRIES)}")


def _report(source: SweepSource, workdir: Path, *, url: str, command: str) -> int:
    end = sweep_end.found(source)
    files = write_report(source.study, source.sweep, end, workdir, command=command)
    print(sweep_end.summary(end))
    if end.best is None:
        print("no trial ran to its end: the reasons are in the report.", file=sys.stderr)
    else:
        Console(width=None if sys.stdout.isatty() else _LOG_WIDTH, highlight=False).print(sweep_end.table(end))
        best = sweep_end.write_best(source, end, workdir, command=command)
        print(f"train the best: python launch.py train --config={best}")
    for file in files:
        print(file)
    print(f"look closer: optuna-dashboard {shown(url)}")
    return 0 if end.best is not None and (not end.best.asked or end.best.is_whole) else 1
