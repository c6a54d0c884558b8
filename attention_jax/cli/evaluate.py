"""`launch.py eval`."""

import argparse

from attention_jax.cli import arguments, running

SUMMARY = "the score of a checkpoint of an experiment"
EPILOG = arguments.KEYS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    arguments.add_config(parser)
    arguments.add_workdir(parser)
    arguments.add_hosts(parser)
    parser.add_argument(
        "--checkpoint", metavar="best|last|STEP", help="which one (default: %(default)s)", default="last"
    )


def run(options: argparse.Namespace, line: str) -> int:
    """Evaluates, and prints the step and its measures."""
    return running.run_on_devices(_evaluate, options, line)


def _evaluate(options: argparse.Namespace, line: str) -> int:
    from attention_jax.training import Experiment, evaluate_checkpoint
    from attention_jax.training.evaluations import describe
    from attention_jax.training.parallel import hosts

    experiment = Experiment(**running.sections(options))
    step, measures = evaluate_checkpoint(experiment, running.workdir_of(options), checkpoint=options.checkpoint)
    if hosts.is_first():
        print(f"step {step}  {describe(measures)}")
    return 0
