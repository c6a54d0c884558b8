"""`launch.py sweep`."""

import argparse
import sys
from pathlib import Path

SUMMARY = "search keys of an experiment, run the best again on fresh seeds, and report"
EPILOG = """\
--space="optimizer.learning_rate=log(1e-4,1e-2) model.attention=[linear,performer:features=int(16,128)]"
searches ranges and lists: log(LOW,HIGH), uniform(LOW,HIGH), int(LOW,HIGH), int(LOW,HIGH,log), the last three with
step=S, and [A,B]. What decides is the task's metric on the validation split. The same command goes on with a sweep that
was stopped; more --trials, or lists with more values, extend it. Any other key is set with --config.a.b=VALUE."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    add = parser.add_argument
    add(
        "--config", metavar="FILE.py[:ARG]", help="the experiment's config file, with a space or without", required=True
    )
    add("--workdir", metavar="DIR", help="the folder of the sweep (default: runs/ and the config's name)")
    add("--space", metavar="KEY=RANGE ...", help="what is searched (default: the config's key space)")
    add("--trials", metavar="N", help="how many (default: 30; of a grid all)", type=int)
    add("--sampler", metavar="NAME", help="tpe (default), random, grid or quasi_random")
    add("--pruner", metavar="NAME", help="none (default), successive_halving:reduction=3 or median:trials=5")
    add("--seed", metavar="N", help="of the sampler (default: 0)", type=int)
    add("--best", metavar="K", help="how many of the best run again (default: 3)", type=int)
    add("--fresh_seeds", metavar="N", help="on how many seeds (default: 3)", type=int)
    add("--workers", metavar="N", help="processes (default: one a core or device; 0: this one)", type=int)
    add("--storage", metavar="URL", help="a database in place of the file in the folder, for many hosts")
    add("--retry", metavar="failed|refused", help="run trials that ended so again")


def run(options: argparse.Namespace, line: str) -> int:
    """Runs the trials that are missing, and prints and writes what was found."""
    from attention_jax.study.engine import prepare_process
    from attention_jax.study.sweep import read_sweep, run_sweep
    from attention_jax.training import Interrupted, RunFailed

    given = {name: getattr(options, name) for name in ("trials", "sampler", "pruner", "seed", "best", "fresh_seeds")}
    sweep = read_sweep(options.config, options.overrides, space=options.space, given=given)
    workdir = Path(options.workdir) if options.workdir else Path("runs") / _name(options.config)
    prepare_process(options.workers, workdir)
    try:
        return run_sweep(
            sweep,
            workdir,
            workers=options.workers,
            storage=options.storage,
            retry=options.retry,
            command=line,
        )
    except RunFailed as failure:
        print(f"failed: {failure}", file=sys.stderr)
        return 1
    except Interrupted as interruption:
        print(f"stopped and saved. To go on: {line}", file=sys.stderr)
        return 128 + interruption.signum


def _name(spec: str) -> str:
    file, _, argument = spec.partition(".py:")
    return "_".join(filter(None, (Path(file).name.removesuffix(".py"), argument)))
