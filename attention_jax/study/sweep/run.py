"""A sweep: its settings from the command and the config file, the run, and what it ends with."""

import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ml_collections import ConfigDict
from optuna import Study
from rich.console import Console

from attention_jax.base.errors import Refused
from attention_jax.base.options import AtLeast, check_bounds, check_options, takes, words
from attention_jax.data.seeds import check_seed
from attention_jax.study.engine.mesh import placed
from attention_jax.study.engine.run import How, check_how, held, run_cells
from attention_jax.study.engine.store import storage_url
from attention_jax.study.search.base_config import Base
from attention_jax.study.search.samplers import NO_PRUNER, make_pruner, make_sampler
from attention_jax.study.search.space import Points, Space, read_space
from attention_jax.study.sweep import end as sweep_end
from attention_jax.study.sweep.plan import Sweep
from attention_jax.study.sweep.preflight import preflight
from attention_jax.study.sweep.report import write_report
from attention_jax.study.sweep.source import SweepSource, put_back
from attention_jax.study.sweep.store import open_study, shown
from attention_jax.training import Experiment, Progress, config
from attention_jax.training.members import check_members
from attention_jax.training.run.workdir import usable
from attention_jax.training.sections import Logging


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
    trials: Annotated[int | None, AtLeast(1)] = None
    best: Annotated[int, AtLeast(0)] = 3
    fresh_seeds: Annotated[int, AtLeast(0)] = 3

    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(Settings).items():
            if not takes(hint, value := getattr(self, name)):
                raise Refused(f"sweep.{name}={value!r}: it takes {words(hint)}.")
        check_bounds(Settings, vars(self), owner="")
        check_seed(self.seed, name="sweep.seed")


_TRIALS = 30
_LOG_WIDTH = 120  # columns, where no terminal says how many there are


def read_sweep(
    raw: ConfigDict, overrides: Mapping[str, str], *, owner: str, space: str | None, given: Mapping[str, Any]
) -> Sweep:
    """Returns the sweep of a config and the options of the command, everything checked.

    Args:
      raw: an experiment as its file gives it, with the keys `space` and `sweep` where the command does not say.
      overrides: keys of the config that the command sets.
      owner: how a message names the config.
      space: in place of the file's.
      given: fields of `Settings` in place of the file's; None is not given.

    Raises:
      Refused: the file, a key, a range, a value or an option cannot be used.
    """
    if config.is_comparison(raw):
        raise Refused(f"{owner} is a comparison of {', '.join(raw.benchmarks)}: a sweep takes one experiment.")
    of_file, section = raw.get("space"), raw.get("sweep", ConfigDict())
    if space is None and of_file is None:
        raise Refused(f"there is no space: give --space=KEY=RANGE, or the key space in {owner}.")
    if not isinstance(section, ConfigDict):
        raise Refused(f"config.sweep={section!r}: it is a section; give a dict of its keys.")
    options = {**section.to_dict(), **{name: value for name, value in given.items() if value is not None}}
    check_options(Settings, options, owner="config.sweep")
    settings = Settings(**options)
    base = Base(config.without_sweep(raw), overrides, owner)
    return sweep_of(base, read_space(of_file if space is None else space), settings)


def sweep_of(base: Base, space: Space | Points, settings: Settings) -> Sweep:
    """Returns the sweep of a space, which is checked; raises as `read_sweep`."""
    make_sampler(settings.sampler, seed=settings.seed)
    config = base.config()
    make_pruner(settings.pruner, every=config["evaluation"]["every"])
    Logging(**config["log"])
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


def open_sweep(sweep: Sweep, workdir: Path, how: How, *, say: Callable[[str], None]) -> Study:
    """Makes the study of a sweep in its storage, or finds the one that is there.

    Args:
      sweep: what to search.
      workdir: its folder.
      how: by how many workers, and where the results are kept.
      say: takes a line on what was there.

    Raises:
      Refused: the folder or the storage cannot be used, or holds a sweep of something else; an option cannot be.
    """
    check_how(how, prunes=sweep.pruner != NO_PRUNER)
    sections = placed(sweep.base.config(), how.devices_per_cell)
    if how.members > 1:
        check_members(Experiment(**sections))
    url = storage_url(workdir, how.storage)
    with usable(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
    with held(workdir, alone=url.startswith("sqlite")):
        return open_study(url, workdir.resolve().name or "sweep", sweep, say=say)


def run_sweep(sweep: Sweep, workdir: Path, how: How, *, command: str) -> int:
    """Runs what is missing of a sweep; writes and prints what was found.

    Args:
      sweep, workdir, how: those of `search`.
      command: what the user typed.

    Returns:
      0; 1 where no trial ran to its end, or none of the best on every fresh seed.

    Raises:
      Refused, Interrupted, RunFailed: as `search`.
    """
    source, url = search(sweep, workdir, how), storage_url(workdir, how.storage)
    return _report(source, workdir, url=url, command=command, devices=how.devices_per_cell)


def search(sweep: Sweep, workdir: Path, how: How) -> SweepSource:
    """Runs the trials that are missing and the best of them on fresh seeds; returns all of them.

    Args:
      sweep: what to search.
      workdir: its folder.
      how: by how many workers, and so on.

    Raises:
      Refused: the folder or the storage cannot be used, or holds a sweep of something else; an option cannot be.
      Interrupted: a signal came; the trials in training were saved first.
      RunFailed: no worker starts, or the storage does not answer any more.
    """
    say = Progress().say
    study = open_sweep(sweep, workdir, how, say=say)
    if how.retry is not None:
        put_back(study, status=how.retry, say=say)
    metric = sweep.base.task.metric
    source = SweepSource(study, sweep, objective=sweep_end.validation_score(workdir, metric), announce=say)
    ended = sum(trial.state.is_finished() for trial in study.trials)
    run_cells(
        source,
        workdir,
        **vars(how),
        # Of a sweep that goes on they were tried when it began.
        preflight=() if study.trials else preflight(sweep),
        planned=max(0, sweep.trials - ended) + sweep.best * sweep.fresh_seeds,
    )
    return source


def _report(source: SweepSource, workdir: Path, *, url: str, command: str, devices: int) -> int:
    end = sweep_end.found(source)
    files = write_report(source.study, source.sweep, end, workdir, command=command)
    print(sweep_end.summary(end))
    if end.best is None:
        print("no trial ran to its end: the reasons are in the report.", file=sys.stderr)
    else:
        Console(width=None if sys.stdout.isatty() else _LOG_WIDTH, highlight=False).print(sweep_end.table(end))
        best = sweep_end.write_best(source, end, workdir, command=command, devices=devices)
        print(f"train the best: python launch.py train --config={best}")
    for file in files:
        print(file)
    print(f"look closer: optuna-dashboard {shown(url)}")
    return 0 if end.best is not None and (not end.best.asked or end.best.is_whole) else 1
