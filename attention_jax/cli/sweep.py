"""`launch.py sweep`."""

import argparse

from attention_jax.cli import arguments, running

SUMMARY = "search keys of an experiment, run the best again on fresh seeds, and report"
EPILOG = """\
--space="optimizer.learning_rate=log(1e-4,1e-2) model.attention=[linear,performer:features=int(16,128)]"
searches ranges and lists: log(LOW,HIGH), uniform(LOW,HIGH), int(LOW,HIGH), int(LOW,HIGH,log), the last three with
step=S, and [A,B]. What decides is the task's metric on the validation split. The same command goes on with a sweep that
was stopped; more --trials, or lists with more values, extend it. Any other key is set with --config.a.b=VALUE."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    add = parser.add_argument
    arguments.add_config(parser)
    arguments.add_workdir(parser)
    add("--space", metavar="KEY=RANGE ...", help="what is searched (default: the config's key space)")
    add("--trials", metavar="N", help="how many (default: 30; of a grid all)", type=int)
    add("--sampler", metavar="NAME", help="tpe (default), random, grid or quasi_random")
    add("--pruner", metavar="NAME", help="none (default), successive_halving:reduction=3 or median:trials=5")
    add("--seed", metavar="N", help="of the sampler (default: 0)", type=int)
    add("--best", metavar="K", help="how many of the best run again (default: 3)", type=int)
    add("--fresh_seeds", metavar="N", help="on how many seeds (default: 3)", type=int)
    arguments.add_study(parser)


def run(options: argparse.Namespace, line: str) -> int:
    """Runs the trials that are missing, and prints and writes what was found."""
    return running.run_on_devices(_sweep, options, line)


def _sweep(options: argparse.Namespace, line: str) -> int:
    from attention_jax.study.engine import prepare_process
    from attention_jax.study.sweep import read_sweep, run_sweep

    given = {name: getattr(options, name) for name in ("trials", "sampler", "pruner", "seed", "best", "fresh_seeds")}
    sweep = read_sweep(options.config, options.overrides, space=options.space, given=given)
    workdir = running.workdir_of(options)
    prepare_process(options.workers, workdir)
    asked = {name: getattr(options, name) for name in ("workers", "storage", "retry", "members")}
    return run_sweep(sweep, workdir, command=line, **asked)
