"""A comparison from its config: the plan, the experiments, the runs, the reports."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.base.formatting import readable_seconds
from attention_jax.data.seeds import check_seed
from attention_jax.kernels.registry import lookup, split_specs
from attention_jax.study.compare import compare
from attention_jax.study.plan import Plan
from attention_jax.study.report import summarise
from attention_jax.study.results import read_results
from attention_jax.training import Experiment, Outcome, Progress, config, train
from attention_jax.training.workdir import claim, usable

_LONGEST_SEED = 20


@dataclass(frozen=True)
class TrainedCell:
    """One benchmark with one variant, trained with one seed after another by one compiled step."""

    experiment: Experiment
    label: str

    def train(self, workdir: Path, *, seed: int) -> Outcome:
        """Trains with a seed in its folder; raises what `attention_jax.training.train` raises."""
        progress = Progress(f"{self.label} / seed {seed}", brief=True)
        return train(self.experiment, workdir, seed=seed, progress=progress)


def run_comparison(
    chosen: ConfigDict, *, name: str, variants: str | None, seeds: str | None, workdir: Path, command: str
) -> int:
    """Trains what is missing in a folder, writes the reports, prints the tables.

    Args:
      chosen: the config of a comparison, or of one experiment, which then is the one benchmark.
      name: what that one benchmark is called.
      variants: specs separated by commas, in place of the config's.
      seeds: numbers separated by commas, in place of the config's.
      workdir: the folder of the comparison.
      command: what the user typed.

    Returns:
      How many runs failed.

    Raises:
      Refused: a variant, a seed or a benchmark cannot be used, or the folder holds another comparison. A variant that
        cannot do one of the benchmarks is a result.
      Interrupted: a signal came; the run that was on was saved first.
    """
    start = time.monotonic()
    benchmarks = _benchmarks(chosen, name)
    plan = Plan(tuple(benchmarks), _variants(chosen, variants), _seeds(chosen, seeds))
    _check(benchmarks, plan.variants)
    with usable(workdir):
        read_results(workdir / "results.jsonl")
    # Nothing is written before everything that can be refused has been.
    claim(workdir, {"benchmarks": benchmarks})

    def build(benchmark: str, variant: str) -> TrainedCell:
        sections = benchmarks[benchmark]
        model = {**sections["model"], "attention": variant}
        return TrainedCell(Experiment(**{**sections, "model": model}), f"{benchmark} / {variant}")

    results = compare(plan, build, workdir, announce=Progress().say)
    summarise(plan, results, workdir, command=command)
    print(f"in {readable_seconds(time.monotonic() - start)}; open {workdir / 'report.html'} in a browser")
    return sum(result.status == "failed" for result in results)


def _benchmarks(chosen: ConfigDict, name: str) -> dict[str, dict[str, Any]]:
    if config.is_comparison(chosen):
        return {benchmark: config.plain(part) for benchmark, part in chosen.benchmarks.items()}
    return {name: config.plain(chosen)}


def _variants(chosen: ConfigDict, given: str | None) -> tuple[str, ...]:
    if given is not None:
        return tuple(split_specs(given))
    return tuple(chosen.variants) if config.is_comparison(chosen) else (chosen.model.attention,)


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


def _check(benchmarks: dict[str, dict[str, Any]], variants: tuple[str, ...]) -> None:
    """Refuses what is wrong whatever is combined, before it would be written down as the result of every run."""
    for variant in variants:
        lookup(variant)
    for name, sections in benchmarks.items():
        if "attention" not in sections["model"]:
            raise Refused(f"model {sections['model']['name']!r} of benchmark {name} has no attention to exchange.")
        try:
            Experiment(**sections)
        except Refused as refusal:
            raise Refused(f"benchmark {name}: {refusal}") from refusal
