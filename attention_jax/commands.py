"""The commands of `launch.py`: each turns parsed options into calls of the rooms below, and prints what the user asked.

What a user reads as the answer goes to stdout; progress and errors go to stderr. The rooms that train are imported by
the commands that train, so that `list` and `show NAME` answer without Orbax and the plotting library.
"""

import argparse
import dataclasses
import inspect
import io
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import jax

from attention_jax.cli import sweep
from attention_jax.kernels.errors import Refused
from attention_jax.kernels.supported import check_jax


def run(options: argparse.Namespace, arguments: list[str]) -> int:
    """Runs the command and returns the exit code: 0 done, 1 failed, 2 wrong input.

    Args:
      options: what `launch.py` parsed.
      arguments: the words it parsed them from, to say how to run the same again.
    """
    try:
        return COMMANDS[options.command](options, shlex.join(["python", "launch.py", *arguments]))
    except Refused as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"{stop}." if str(stop) else "stopped.", file=sys.stderr)
        signum = getattr(stop, "signum", None)
        if signum is not None:
            # A second signal to a run: Python's own exit would wait for a step that may never return.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(128 + signum)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader has what it wanted (`launch.py list | head`); Python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _training(command: Callable[[argparse.Namespace, str], int]) -> Callable[[argparse.Namespace, str], int]:
    """Wraps a command that trains: every core is a device, and it says so when a run fails or is stopped."""

    def wrapped(options: argparse.Namespace, line: str) -> int:
        from attention_jax.training import Interrupted, RunFailed, hosts
        from attention_jax.training.host import keep_freed_memory, use_cpu_devices, use_every_core

        use_every_core()
        keep_freed_memory()
        if "devices" in options and options.devices is not None:
            use_cpu_devices(options.devices)
        if "cluster" in options:
            hosts.join(**{name: getattr(options, name) for name in inspect.signature(hosts.join).parameters})
        # Only now: it may start JAX.
        check_jax()
        try:
            return command(options, line)
        except RunFailed as failure:
            print(f"failed: {failure}", file=sys.stderr)
            return 1
        except Interrupted as interruption:
            print(f"stopped and saved. To go on: {line}", file=sys.stderr)
            return 128 + interruption.signum

    return wrapped


@_training
def _train(options: argparse.Namespace, line: str) -> int:
    from attention_jax.training import Experiment, Progress, hosts, train
    from attention_jax.training.outcome import describe_speed
    from attention_jax.training.profiling import parse_window
    from attention_jax.training.workdir import claim

    workdir = _workdir(options)
    experiment = Experiment(**_experiment(options))
    profile = None if options.profile is None else parse_window(options.profile, steps=experiment.steps)
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
    words = shlex.split(line.replace(" train ", " eval ", 1))
    for place, word in enumerate(words):
        if word.partition("=")[0] == "--profile":
            del words[place : place + (1 if "=" in word else 2)]
            break
    return shlex.join([*words, *(["--checkpoint=best"] if best else [])])


@_training
def _eval(options: argparse.Namespace, line: str) -> int:
    from attention_jax.training import Experiment, evaluate_checkpoint, hosts
    from attention_jax.training.evaluations import describe

    experiment = Experiment(**_experiment(options))
    step, measures = evaluate_checkpoint(experiment, _workdir(options), checkpoint=options.checkpoint)
    if hosts.is_first():
        print(f"step {step}  {describe(measures)}")
    return 0


@_training
def _compare(options: argparse.Namespace, line: str) -> int:
    from attention_jax.study.run import How, run_comparison
    from attention_jax.training import config

    failed = run_comparison(
        config.load(options.config, options.overrides),
        name=_stem(options.config),
        variants=options.variants,
        seeds=options.seeds,
        workdir=_workdir(options),
        command=line,
        how=How(options.workers, options.retry, options.storage),
    )
    if failed:
        said = "for the reasons in the table; with --retry=failed the same command runs them again."
        print(f"{failed} runs failed, {said}", file=sys.stderr)
    return 1 if failed else 0


def _status(options: argparse.Namespace, line: str) -> int:
    from attention_jax.study.status import print_status

    print_status(Path(options.workdir))
    return 0


@_training
def _shard(options: argparse.Namespace, line: str) -> int:
    from attention_jax.shard_report import print_shards
    from attention_jax.training import Experiment

    print_shards(Experiment(**_experiment(options)))
    return 0


def _list(options: argparse.Namespace, line: str) -> int:
    from attention_jax import listing

    listing.print_list()
    return 0


def _show(options: argparse.Namespace, line: str) -> int:
    if (options.name is None) == (options.config is None):
        raise Refused("show takes a name or --config=FILE.py: `launch.py list` prints the names.")
    if options.config is None:
        from attention_jax import listing

        listing.print_one(options.name)
    else:
        from attention_jax.training import config

        print(config.show(config.load(options.config, options.overrides, of_sweep=True)))
    return 0


def _explain(options: argparse.Namespace, line: str) -> int:
    from attention_jax.explaining import Question, print_explanation

    check_jax()
    asked = {field.name: getattr(options, field.name) for field in dataclasses.fields(Question)}
    print_explanation(Question(**asked), with_memory=options.memory)
    return 0


def _check(options: argparse.Namespace, line: str) -> int:
    from attention_jax.checking import check

    check_jax()
    return 0 if check(options.spec, only=_listed(options.only)) else 1


def _bench(options: argparse.Namespace, line: str) -> int:
    from attention_jax.bench.measures import Settings
    from attention_jax.bench.run import print_measures, run_bench
    from attention_jax.bench.steps import StepSettings

    benches: dict[str, type[Settings | StepSettings]] = {"attention": Settings, "step": StepSettings}
    if options.what not in benches:
        raise Refused(f"there is no bench {options.what!r}: try bench {' or bench '.join(benches)}.")
    known = {what: [field.name for field in dataclasses.fields(bench)] for what, bench in benches.items()}
    every = {name for names in known.values() for name in names}
    given = {name: value for name in every if (value := getattr(options, name)) is not None}
    for name in sorted(given.keys() - known[options.what]):
        raise Refused(f"--{name} is not an option of bench {options.what}: leave it out.")
    settings = benches[options.what](**given)
    if options.list:
        print_measures(settings.kind)
        return 0
    check_jax()
    workdir = Path(options.workdir or f"runs/bench_{options.what}")
    failed = run_bench(settings, names=_listed(options.only), repeats=options.repeats, workdir=workdir)
    if failed:
        print(f"{failed} comparisons failed, for the reasons beneath the table.", file=sys.stderr)
    return 1 if failed else 0


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",")]


def _prepare(options: argparse.Namespace, line: str) -> int:
    from attention_jax.data import prepare

    folder = prepare(options.name, data_dir=options.data_dir, manual_dir=options.manual_dir)
    print(f"{options.name} is prepared in {folder}")
    return 0


def _experiment(options: argparse.Namespace) -> dict:
    from attention_jax.training import config

    chosen = config.load(options.config, options.overrides)
    if config.is_comparison(chosen):
        raise Refused(f"{options.config} is a comparison of {', '.join(chosen.benchmarks)}: use launch.py compare.")
    return config.plain(chosen)


def _stem(spec: str) -> str:
    file, _, argument = spec.partition(".py:")
    return "_".join(filter(None, (Path(file).name.removesuffix(".py"), argument)))


def _workdir(options: argparse.Namespace) -> Path:
    return Path(options.workdir) if options.workdir else Path("runs") / _stem(options.config)


COMMANDS: dict[str, Callable[[argparse.Namespace, str], int]] = {
    "train": _train,
    "eval": _eval,
    "compare": _compare,
    "sweep": sweep.run,
    "status": _status,
    "shard": _shard,
    "list": _list,
    "show": _show,
    "explain": _explain,
    "check": _check,
    "bench": _bench,
    "prepare": _prepare,
}
