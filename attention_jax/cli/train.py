"""`launch.py train`."""

import argparse
import io
import shlex
from typing import TYPE_CHECKING

from attention_jax.cli import arguments, launching, running

if TYPE_CHECKING:
    from attention_jax.training import Experiment

SUMMARY = "train one experiment, or go on where it was stopped"
EPILOG = arguments.KEYS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    arguments.add_config(parser)
    arguments.add_workdir(parser)
    arguments.add_hosts(parser)
    arguments.add_log(parser)
    arguments.add_launcher(parser)
    parser.add_argument(
        "--profile", metavar="FIRST:END", help="trace these steps, counted from 1, END not among them: 10:15"
    )


def run(options: argparse.Namespace, line: str) -> int:
    """Trains, and prints the score, the speed and the command that evaluates again."""
    return launching.run_or_launch(_train, _prepared, options, line)


def _prepared(options: argparse.Namespace) -> tuple["Experiment", range | None]:
    """Returns what is trained and the steps that are traced; raises Refused where the run would, and writes nothing."""
    from attention_jax.training import Experiment
    from attention_jax.training.parallel import hosts
    from attention_jax.training.run.profiling import parse_window
    from attention_jax.training.run.workdir import compare_config
    from attention_jax.training.running import starts_from_weights

    experiment = Experiment(**running.sections(options))
    profile = None if options.profile is None else parse_window(options.profile, steps=experiment.steps)
    workdir = running.workdir_of(options)
    hosts.first_does(lambda: compare_config(workdir, experiment.config))
    if starts_from_weights(experiment, workdir):
        experiment.weights(say=lambda _: None)
    return experiment, profile


def _train(options: argparse.Namespace, line: str) -> int:
    import jax

    from attention_jax.training import Progress, train
    from attention_jax.training.parallel import hosts
    from attention_jax.training.run.outcome import describe_speed
    from attention_jax.training.run.workdir import claim

    workdir = running.workdir_of(options)
    experiment, profile = _prepared(options)
    # Before anything is said, so that a folder that cannot be used is the one line of an error.
    hosts.first_does(lambda: claim(workdir, experiment.config))
    progress = Progress(stream=None if hosts.is_first() else io.StringIO())
    progress.say(
        f"{experiment.parameters:,} parameters, {experiment.steps} steps of {experiment.batch_size}, split over "
        f"{experiment.mesh.size} of {jax.device_count()} {jax.default_backend()} devices; results in {workdir}"
    )
    outcome = train(experiment, workdir, progress=progress, profile=profile)
    if not hosts.is_first():
        return 0
    best = experiment.checkpoint.best
    print(f"{outcome.metric} {outcome.score:.6g}{f' (the best, of step {outcome.score_step})' if best else ''}")
    print(
        f"{outcome.steps} steps, {outcome.ms_per_step:.3g} ms each (median), {outcome.peak_bytes / 2**20:.1f} MiB peak"
        f"; compiled in {outcome.compile_seconds:.1f} s"
    )
    # Rows of several lengths are padded to them.
    print(describe_speed(outcome, padded=len(experiment.abstract_batches) > 1))
    print(f"losses: {workdir / 'metrics.jsonl'}")
    print(f"evaluate again: {_to_evaluate(line, best=best)}")
    return 0


def _to_evaluate(line: str, *, best: bool) -> str:
    """The command that evaluates what a command trains."""
    words = shlex.split(arguments.without(line.replace(" train ", " eval ", 1), "--profile"))
    return shlex.join([*words, *(["--checkpoint=best"] if best else [])])
