"""`launch.py compare`."""

import argparse
import sys
from typing import TYPE_CHECKING

from attention_jax.cli import arguments, launching, running

if TYPE_CHECKING:
    from attention_jax.study.run import Planned

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
    return launching.run(_compare, _planned, options, line)


def _compare(options: argparse.Namespace, line: str) -> int:
    from attention_jax.study.run import run_comparison

    planned = _planned(options)
    failed = run_comparison(planned, running.workdir_of(options), command=line, how=running.how(options))
    if failed:
        said = "for the reasons in the table; with --retry=failed the same command runs them again."
        print(f"{failed} runs failed, {said}", file=sys.stderr)
    return 1 if failed else 0


def _planned(options: argparse.Namespace) -> "Planned":
    from attention_jax.study.run import plan_comparison

    return plan_comparison(
        running.load(options),
        name=running.name_of(options.config),
        variants=options.variants,
        seeds=options.seeds,
        workdir=running.workdir_of(options),
        vary=options.vary,
        how=running.how(options),
    )
