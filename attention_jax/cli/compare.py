"""`launch.py compare`."""

import argparse
import sys
from typing import TYPE_CHECKING

from attention_jax.cli import arguments, launching, running

if TYPE_CHECKING:
    from attention_jax.study.compare import Planned

SUMMARY = "train every variant on every benchmark with every seed, and report"
EPILOG = f"""\
--tune="optimizer.learning_rate=[3e-4,1e-3,3e-3]" trains every variant on every benchmark at each of these first, with
one seed that is not reported, chooses by the metric on the validation split, and trains the best point on the --seeds:
only these runs are reported, on the test split. Ranges, as of a sweep, take --trials=N; the report shows every trial.
{arguments.KEYS}"""


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
    add(
        "--vary",
        metavar="KEY|patches",
        help="the key that varies (default: model.attention), or patches of several: --vary=patches "
        '--variants="base:=,wide:=model.width=256 model.num_layers=2"',
    )
    add("--seeds", metavar="0,1", help="the seeds of each (default: the config's; of --data 0,1,2)")
    add("--benchmarks", metavar="A,B", help="of the config's, those to run (default: all)")
    add(
        "--tune",
        metavar="KEY=RANGE ...",
        help="what is tuned for each variant on each benchmark first, as of a sweep; nothing leaves out the config's",
    )
    add("--trials", metavar="N", type=int, help="how many each variant gets (of a grid of lists: all)")
    add(
        "--sampler",
        metavar="NAME",
        help="of the tuning: grid (default of lists), tpe (of others), random, quasi_random",
    )
    arguments.add_study(parser)


def run(options: argparse.Namespace, line: str) -> int:
    """Trains all that is not trained yet, and prints and writes the report."""
    return launching.run_or_launch(_compare, _planned, options, line)


def _compare(options: argparse.Namespace, line: str) -> int:
    from attention_jax.study.compare import run_comparison

    planned = _planned(options)
    failed = run_comparison(planned, running.workdir_of(options), command=line, how=running.how(options))
    if failed:
        said = "for the reasons in the table; with --retry=failed the same command runs them again."
        print(f"{failed} runs failed, {said}", file=sys.stderr)
    return 1 if failed else 0


def _planned(options: argparse.Namespace) -> "Planned":
    from attention_jax.study.compare import plan_comparison

    return plan_comparison(
        running.load(options),
        name=running.name_of(options),
        variants=options.variants,
        # A verdict needs three, and no config of the user's says another number.
        seeds=options.seeds or (None if options.data is None else "0,1,2"),
        benchmarks=options.benchmarks,
        workdir=running.workdir_of(options),
        vary=options.vary,
        tune={"space": options.tune, "trials": options.trials, "sampler": options.sampler},
        how=running.how(options),
        with_baselines=options.data is not None,
    )
