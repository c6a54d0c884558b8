"""`launch.py compare`."""

import argparse
import sys

from attention_jax.cli import arguments, running

SUMMARY = "train every variant on every benchmark with every seed, and report"
EPILOG = arguments.KEYS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    arguments.add_config(parser)
    arguments.add_workdir(parser)
    add = parser.add_argument
    add(
        "--variants",
        metavar="A,B",
        help="attention variants, or values of --vary; the first one is the reference, NAME:=VALUE gives one a name",
    )
    add("--vary", metavar="KEY", default="model.attention", help="the key that varies (default: %(default)s)")
    add("--seeds", metavar="0,1", help="the seeds of each")
    arguments.add_study(parser)


def run(options: argparse.Namespace, line: str) -> int:
    """Trains all that is not trained yet, and prints and writes the report."""
    return running.run_on_devices(_compare, options, line)


def _compare(options: argparse.Namespace, line: str) -> int:
    from attention_jax.study.run import How, run_comparison
    from attention_jax.training import config

    failed = run_comparison(
        config.load(options.config, options.overrides),
        name=running.name_of(options.config),
        variants=options.variants,
        seeds=options.seeds,
        workdir=running.workdir_of(options),
        command=line,
        vary=options.vary,
        how=How(options.workers, options.retry, options.storage, options.members),
    )
    if failed:
        said = "for the reasons in the table; with --retry=failed the same command runs them again."
        print(f"{failed} runs failed, {said}", file=sys.stderr)
    return 1 if failed else 0
