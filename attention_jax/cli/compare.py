"""`launch.py compare`."""

import argparse
import sys

from attention_jax.cli import arguments, running

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
    add("--seeds", metavar="0,1", help="the seeds of each")
    add("--tune", metavar="KEY=RANGE ...", help="what is tuned for each variant on each benchmark first, as of a sweep")
    add("--trials", metavar="N", type=int, help="how many each variant gets (of a grid of lists: all)")
    add(
        "--sampler",
        metavar="NAME",
        help="of the tuning: grid (default of lists), tpe (of others), random, quasi_random",
    )
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
        tune={"space": options.tune, "trials": options.trials, "sampler": options.sampler},
        how=How(options.workers, options.retry, options.storage),
    )
    if failed:
        said = "for the reasons in the table; with --retry=failed the same command runs them again."
        print(f"{failed} runs failed, {said}", file=sys.stderr)
    return 1 if failed else 0
