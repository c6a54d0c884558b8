"""A comparison from its config: the plan, the experiments, the runs, the reports."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.base.formatting import readable_seconds
from attention_jax.data.seeds import check_seed
from attention_jax.study.cells import Cell
from attention_jax.study.cells import Result as CellResult
from attention_jax.study.compare import Comparison
from attention_jax.study.engine import prepare_process, run_cells
from attention_jax.study.plan import Plan
from attention_jax.study.report import summarise
from attention_jax.study.results import Result, read_results
from attention_jax.study.session import on_one_core, versions
from attention_jax.study.tuned_compare import TunedComparison
from attention_jax.study.tuning_plan import read_tuning
from attention_jax.study.variation import ATTENTION, PATCHES, Choice, Variation, choices, patches
from attention_jax.training import Experiment, config
from attention_jax.training.workdir import claim, compare_config, usable, write_config

_LONGEST_SEED = 20


@dataclass(frozen=True)
class How:
    """How a study runs, whatever it computes; each is an option of the command.

    Attributes:
      workers: processes that train; None is one for each core or device, 0 trains in this process.
      retry: "failed" or "refused": runs that ended so run again.
      storage: the URL of a database in place of the file in the folder.
    """

    workers: int | None = None
    retry: str | None = None
    storage: str | None = None


DEFAULT = How()


def run_comparison(
    chosen: ConfigDict,
    *,
    name: str,
    variants: str | None,
    seeds: str | None,
    workdir: Path,
    command: str,
    vary: str | None = None,
    tune: Mapping[str, Any] | None = None,
    how: How = DEFAULT,
) -> int:
    """Trains what is missing in a folder, writes the reports, prints the tables.

    Args:
      chosen: the config of a comparison, or of one experiment, which then is the one benchmark.
      name: what that one benchmark is called.
      variants: specs, or values of what varies, separated by commas, in place of the config's; NAME:=VALUE gives one a
        name.
      seeds: numbers separated by commas, in place of the config's.
      workdir: the folder of the comparison.
      command: what the user typed.
      vary: the key of an experiment's config that varies, or "patches"; None is the attention, and the patches of a
        config that has such.
      tune: fields of `tuning_plan.Settings` in place of those of the config's section `tune`.
      how: by how many workers, and so on.

    Returns:
      How many runs failed.

    Raises:
      Refused: a variant, a seed, a benchmark or an option cannot be used, or the folder holds another comparison or is
        held by one that runs. A variant that cannot do one of the benchmarks is a result.
      Interrupted: a signal came; the runs that were on were saved first.
      RunFailed: workers do not start, or the storage does not answer any more.
    """
    start = time.monotonic()
    prepare_process(how.workers, workdir)
    benchmarks = _benchmarks(chosen, name)
    key = vary or (PATCHES if variants is None and chosen.get("patches") is not None else ATTENTION)
    variation = Variation(key, _choices(chosen, variants, key), _parts(chosen, name))
    plan = Plan(tuple(benchmarks), variation.labels, _seeds(chosen, seeds))
    tuning = read_tuning(chosen.get("tune"), tune or {}, variation, plan.seeds)
    _check(benchmarks)
    whole = {**_benchmarks_there(workdir), **benchmarks}
    compare_config(workdir, {"benchmarks": whole})
    with usable(workdir):
        read_results(workdir / "results.jsonl")
    source: Comparison | TunedComparison
    if tuning is None:
        source = Comparison(plan, variation.config_of, workdir)
    else:
        source = TunedComparison(plan, tuning, variation.config_of, workdir)

    def had() -> dict[Cell, CellResult]:
        claim(workdir, {"benchmarks": whole})
        write_config(workdir, {"benchmarks": whole})
        return source.had()

    # Nothing is written before everything that can be refused has been.
    run_cells(source, workdir, workers=how.workers, retry=how.retry, storage=how.storage, had=had)
    results = source.in_order()
    summarise(plan, results, workdir, command=command, tuned=source.tuned())
    for line in (compiled(results), *other_versions(results)):
        print(line)
    print(f"in {readable_seconds(time.monotonic() - start)}; open {workdir / 'report.html'} in a browser")
    return sum(result.status == "failed" for result in results)


def compiled(results: list[Result]) -> str:
    """Returns one line on what XLA compiled for results, and what came from the cache in its place."""
    compilations = sum(result.compilations or 0 for result in results)
    hits = sum(result.cache_hits or 0 for result in results)
    return f"XLA compiled {compilations} programs for these runs and loaded {hits} from the cache"


def other_versions(results: list[Result]) -> list[str]:
    """Returns a line where results were computed by other versions of packages than those here."""
    here = versions()
    others = [result for result in results if result.versions is not None and result.versions != here]
    if not others:
        return []
    there = others[0].versions or {}
    changed = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
    said = ", ".join(f"{name} {there.get(name, 'none')}, here {here.get(name, 'none')}" for name in changed)
    return [f"{len(others)} of {len(results)} results are of other versions, such as {others[0].trial}: {said}"]


def _benchmarks_there(workdir: Path) -> dict[str, Any]:
    """Returns the benchmarks that the comparison in a folder has; a file that is no such is `compare_config`'s."""
    try:
        there = json.loads((workdir / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    benchmarks = there.get("benchmarks") if isinstance(there, dict) else None
    return benchmarks if isinstance(benchmarks, dict) else {}


def _benchmarks(chosen: ConfigDict, name: str) -> dict[str, dict[str, Any]]:
    return {benchmark: config.plain(part) for benchmark, part in _parts(chosen, name).items()}


def _parts(chosen: ConfigDict, name: str) -> dict[str, ConfigDict]:
    return dict(chosen.benchmarks.items()) if config.is_comparison(chosen) else {name: chosen}


def _choices(chosen: ConfigDict, given: str | None, vary: str) -> tuple[Choice, ...]:
    if given is not None:
        return choices(vary, given)
    if vary == PATCHES and chosen.get("patches") is not None:
        return patches(chosen.patches)
    if vary != ATTENTION or chosen.get("patches") is not None:
        such_as = '"base:=,wide:=model.width=256"' if vary == PATCHES else "1,2"
        raise Refused(f"--vary={vary}: say which values of it are compared, such as --variants={such_as}.")
    of_config = chosen.variants if config.is_comparison(chosen) else (chosen.model.get("attention"),)
    return tuple(choice for spec in of_config if spec is not None for choice in choices(ATTENTION, spec))


def _seeds(chosen: ConfigDict, given: str | None) -> tuple[int, ...]:
    if given is None:
        seeds = tuple(chosen.seeds) if config.is_comparison(chosen) else (chosen.seed,)
    else:
        seeds = tuple(given.split(","))
    # Longer ones are no seeds, and Python does not read thousands of digits.
    if not all(str(seed).strip().isdecimal() and len(str(seed)) <= _LONGEST_SEED for seed in seeds):
        said = ",".join(map(str, seeds))
        raise Refused(f"seeds={said}: give whole numbers of at least 0, separated by commas, such as 0,1,2.")
    for seed in seeds:
        check_seed(int(seed), name="seed")
    return tuple(map(int, seeds))


def _check(benchmarks: dict[str, dict[str, Any]]) -> None:
    """Refuses what is wrong whatever is combined, before it would be written down as the result of every run."""
    for name, sections in benchmarks.items():
        try:
            Experiment(**(on_one_core(sections) if jax.default_backend() == "cpu" else sections))
        except Refused as refusal:
            raise Refused(f"benchmark {name}: {refusal}") from refusal
