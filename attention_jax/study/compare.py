"""A comparison from its config: the plan, the experiments, the runs, the reports."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.base.formatting import readable_seconds
from attention_jax.data.seeds import check_seed
from attention_jax.study.baselines.measure import measure_baselines
from attention_jax.study.comparison.cell_command import cell_command
from attention_jax.study.comparison.plan import Plan, Trial
from attention_jax.study.comparison.results import read_results
from attention_jax.study.comparison.source import Comparison
from attention_jax.study.comparison.tuned_source import TunedComparison
from attention_jax.study.comparison.tuning_plan import read_tuning
from attention_jax.study.comparison.variation import ATTENTION, PATCHES, Choice, Variation, choices, configured, tuned
from attention_jax.study.engine.cells import Cell
from attention_jax.study.engine.cells import Result as CellResult
from attention_jax.study.engine.mesh import placed
from attention_jax.study.engine.run import DEFAULT, How, check_how, prepare_process, run_cells
from attention_jax.study.report.provenance import remarks
from attention_jax.study.report.report import summarise
from attention_jax.training import Experiment, config
from attention_jax.training.members import check_members
from attention_jax.training.run.workdir import claim, compare_config, usable, write_config

_LONGEST_SEED = 20


@dataclass(frozen=True)
class Planned:
    """A comparison of which nothing can be refused any more but by its folder and its storage.

    Attributes:
      plan: what is to run.
      variation: the config of each run.
      source: its cells.
      config: what the folder is tied to: the benchmarks, those of the folder among them.
      with_baselines: whether the reports say what baselines without a network score: see `study.baselines`.
      has_benchmarks: whether the config is of a comparison, so that its keys are behind "benchmarks.NAME.".
    """

    plan: Plan
    variation: Variation
    source: Comparison | TunedComparison
    config: dict[str, Any]
    with_baselines: bool
    has_benchmarks: bool

    def command_of(self, command: str, trial: Trial, point: Mapping[str, Any] | None, workdir: Path) -> str:
        """Returns what trains one run alone, at the point that was chosen for it.

        Args:
          command: of the whole comparison.
          trial: the run.
          point: the tuned keys with their values; None where nothing was tuned.
          workdir: of the whole comparison.
        """
        entry, tuned = self.variation.entry_of(trial.variant), dict(point or {})
        entry = tuned.pop(self.variation.key, entry)
        owner = f"benchmarks.{trial.benchmark}." if self.has_benchmarks else ""
        keys = {f"{owner}{key}": value for key, value in tuned.items()}
        seed = self.variation.config_of(trial.benchmark, trial.variant, trial.seed)["seed"]
        vary = self.variation.key
        return cell_command(command, trial, vary=vary, entry=entry, seed=seed, keys=keys, workdir=workdir)


def plan_comparison(
    chosen: ConfigDict,
    *,
    name: str,
    variants: str | None,
    seeds: str | None,
    workdir: Path,
    vary: str | None = None,
    benchmarks: str | None = None,
    tune: Mapping[str, Any] | None = None,
    how: How = DEFAULT,
    with_baselines: bool = False,
) -> Planned:
    """Returns what a comparison is to run, and writes nothing.

    Args:
      chosen: the config of a comparison, or of one experiment, which then is the one benchmark.
      name: what that one benchmark is called.
      variants: specs, or values of what varies, separated by commas, in place of the config's; NAME:=VALUE gives one a
        name.
      seeds: numbers separated by commas, in place of the config's.
      workdir: the folder of the comparison.
      vary: the key of an experiment's config that varies, or "patches"; None is the attention, and the patches of a
        config that has such.
      benchmarks: names separated by commas, of those of the config's that are run; None is all.
      tune: fields of `tuning_plan.Settings` in place of those of the config's section `tune`.
      how: by how many workers, and so on.
      with_baselines: whether the reports say what baselines without a network score: see `study.baselines`.

    Raises:
      Refused: a variant, a seed, a benchmark or an option cannot be used, or the folder holds another comparison. A
        variant that cannot do one of the benchmarks is a result.
    """
    prepare_process(how.workers, workdir, devices_per_cell=how.devices_per_cell)
    check_how(how)
    parts = _parts(chosen, name, benchmarks)
    variation = Variation(*_varied(chosen, variants, vary), parts, _tuned_before(chosen))
    plan = Plan(tuple(parts), variation.labels, _seeds(chosen, seeds))
    tuning = read_tuning(chosen.get("tune"), tune or {}, variation, plan.seeds)
    plain = {benchmark: config.plain(part) for benchmark, part in parts.items()}
    _check(plain, how)
    whole = {"benchmarks": {**_benchmarks_there(workdir), **plain}}
    compare_config(workdir, whole)
    with usable(workdir):
        read_results(workdir / "results.jsonl")
    source: Comparison | TunedComparison
    if tuning is None:
        source = Comparison(plan, variation.config_of, workdir)
    else:
        source = TunedComparison(plan, tuning, variation.config_of, workdir)
    return Planned(plan, variation, source, whole, with_baselines, config.is_comparison(chosen))


def run_comparison(planned: Planned, workdir: Path, *, command: str, how: How = DEFAULT) -> int:
    """Trains what is missing in a folder, writes the reports, prints the tables.

    Args:
      planned: what to run.
      workdir: the folder of the comparison.
      command: what the user typed.
      how: as it was planned.

    Returns:
      How many runs failed.

    Raises:
      Refused: the folder is held by a study that runs, or the storage cannot be used.
      Interrupted: a signal came; the runs that were on were saved first.
      RunFailed: workers do not start, or the storage does not answer any more.
    """
    start, source = time.monotonic(), planned.source

    def had() -> dict[Cell, CellResult]:
        claim(workdir, planned.config)
        write_config(workdir, planned.config)
        return source.had()

    # Nothing is written before everything that can be refused has been.
    run_cells(source, workdir, had=had, **vars(how))
    results = source.in_order()
    if planned.with_baselines:
        measure_baselines(planned.config["benchmarks"], workdir)

    def command_of(trial: Trial) -> str:
        return planned.command_of(command, trial, points.get(trial), workdir)

    points = {result.trial: result.point for result in results}
    summarise(
        planned.plan,
        results,
        workdir,
        command=command,
        command_of=command_of,
        tuned=source.tuned(),
        tuned_before=planned.variation.tuned,
    )
    for line in remarks(results, devices=how.devices_per_cell):
        print(line)
    print(f"in {readable_seconds(time.monotonic() - start)}; open {workdir / 'report.html'} in a browser")
    return sum(result.status == "failed" for result in results)


def _benchmarks_there(workdir: Path) -> dict[str, Any]:
    """Returns the benchmarks that the comparison in a folder has; a file that is no such is `compare_config`'s."""
    try:
        there = json.loads((workdir / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    benchmarks = there.get("benchmarks") if isinstance(there, dict) else None
    return benchmarks if isinstance(benchmarks, dict) else {}


def _parts(chosen: ConfigDict, name: str, wanted: str | None) -> dict[str, ConfigDict]:
    every = dict(chosen.benchmarks.items()) if config.is_comparison(chosen) else {name: chosen}
    names = list(every) if wanted is None else [word.strip() for word in wanted.split(",")]
    for word in names:
        if word not in every:
            raise Refused(f"--benchmarks={wanted}: there is no benchmark {word!r}.{did_you_mean(word, every)}")
    return {word: every[word] for word in names}


def _varied(chosen: ConfigDict, given: str | None, vary: str | None) -> tuple[str, tuple[Choice, ...]]:
    if given is not None:
        return vary or ATTENTION, choices(vary or ATTENTION, given)
    key, found = configured(chosen)
    if vary not in (None, key):
        such_as = '"base:=,wide:=model.width=256"' if vary == PATCHES else "1,2"
        raise Refused(f"--vary={vary}: say which values of it are compared, such as --variants={such_as}.")
    return key, found


def _tuned_before(chosen: ConfigDict) -> dict[tuple[str, str], dict[str, str]]:
    if chosen.get("tuned") is None:
        return {}
    _, found = configured(chosen)
    return tuned(chosen.tuned, chosen.get("benchmarks", ()), [choice.label for choice in found])


def _seeds(chosen: ConfigDict, given: str | None) -> tuple[int, ...]:
    if given is not None:
        return read_seeds(given.split(","))
    return read_seeds(chosen.seeds if config.is_comparison(chosen) else (chosen.seed,))


def read_seeds(seeds: Iterable[int | str]) -> tuple[int, ...]:
    """Returns seeds as numbers.

    Raises:
      Refused: one is none.
    """
    seeds = tuple(seeds)
    # Longer ones are no seeds, and Python does not read thousands of digits.
    if not all(str(seed).strip().isdecimal() and len(str(seed)) <= _LONGEST_SEED for seed in seeds):
        said = ",".join(map(str, seeds))
        raise Refused(f"seeds={said}: give whole numbers of at least 0, separated by commas, such as 0,1,2.")
    for seed in seeds:
        check_seed(int(seed), name="seed")
    return tuple(map(int, seeds))


def _check(benchmarks: dict[str, dict[str, Any]], how: How) -> None:
    """Refuses what is wrong whatever is combined, before it would be written down as the result of every run."""
    for name, sections in benchmarks.items():
        try:
            experiment = Experiment(**placed(sections, how.devices_per_cell))
            if how.members > 1:
                check_members(experiment)
        except Refused as refusal:
            raise Refused(f"benchmark {name}: {refusal}") from refusal
