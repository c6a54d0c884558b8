"""`launch.py sweep`."""

import argparse
from typing import TYPE_CHECKING

from attention_jax.cli import arguments, launching, running

if TYPE_CHECKING:
    from attention_jax.study.sweep.plan import Sweep

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
    return launching.run_or_launch(_sweep, _check, options, line)


def _sweep(options: argparse.Namespace, line: str) -> int:
    from attention_jax.study.engine.run import prepare_process
    from attention_jax.study.sweep.run import run_sweep

    sweep, workdir, how = _read(options), running.workdir_of(options), running.how(options)
    prepare_process(how.workers, workdir, devices_per_cell=how.devices_per_cell)
    return run_sweep(sweep, workdir, how, command=line)


def _check(options: argparse.Namespace) -> None:
    """Makes the study too: of several supervisors that begin together none then finds half of another's."""
    from attention_jax.study.sweep.run import open_sweep

    open_sweep(_read(options), running.workdir_of(options), running.how(options), say=lambda line: None)


def _read(options: argparse.Namespace) -> "Sweep":
    from attention_jax.study.sweep.run import read_sweep

    given = {name: getattr(options, name) for name in ("trials", "sampler", "pruner", "seed", "best", "fresh_seeds")}
    overrides = {**options.overrides, **running.of_log(options)}
    raw, owner = running.raw(options), running.owner(options)
    return read_sweep(raw, overrides, owner=owner, space=options.space, given=given)
