"""What the commands that run experiments share: the devices, the hosts, how a run ends, and what a config names."""

import argparse
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.cli import arguments

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from attention_jax.study.engine.run import How


def run_on_devices(
    command: Callable[[argparse.Namespace, str], int],
    options: argparse.Namespace,
    line: str,
    *,
    devices: int | None = None,
) -> int:
    """Runs a command with every core as a device, joined to the other hosts; says when a run fails or is stopped.

    Args:
      command: what is run; a run that fails or is stopped ends it by an exception.
      options: its options; those of `add_hosts`, where it has them, are heeded here.
      line: the command line, to say how to go on.
      devices: how many CPU devices stand in for those of another machine; None takes those that are here.

    Returns:
      The exit code.
    """
    from attention_jax.kernels.supported import check_jax
    from attention_jax.training import Interrupted, RunFailed
    from attention_jax.training.parallel import hosts
    from attention_jax.training.parallel.host import keep_freed_memory, use_cpu_devices, use_every_core

    if devices is None:
        use_every_core()
    else:
        use_cpu_devices(devices)
    keep_freed_memory()
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


def load(options: argparse.Namespace) -> "ConfigDict":
    """Returns the whole config of --config or --data, of an experiment or a comparison, with the keys that are set.

    Raises:
      Refused: it cannot be used.
    """
    from attention_jax.training import config, own_data

    if options.data is None:
        _check_columns(options)
        chosen = config.load(options.config, options.overrides)
    else:
        chosen = config.finish(raw(options), options.overrides, owner=owner(options))
        print(own_data.description(chosen), file=sys.stderr)
    parts = [f"benchmarks.{name}." for name in chosen.benchmarks] if config.is_comparison(chosen) else [""]
    shown = {f"{part}{key}": value for part in parts for key, value in of_log(options).items()}
    config.override(chosen, shown, owner=owner(options))
    return chosen


def raw(options: argparse.Namespace) -> "ConfigDict":
    """Returns the config of --config as its file gives it, or that of --data as it is guessed, which is said.

    Raises:
      Refused: it cannot be used.
    """
    from attention_jax.data.guess import guess
    from attention_jax.training import config, own_data

    _check_columns(options)
    if options.data is None:
        return config.read(options.config)
    guessed = guess(options.data, text=options.text, label=options.label)
    # Not by the first host alone: to ask which it is would start JAX, which a study does in its workers.
    print(*guessed.lines, sep="\n", file=sys.stderr)
    return own_data.experiment_of(guessed)


def owner(options: argparse.Namespace) -> str:
    """Returns how a message names the config."""
    return str(options.config) if options.data is None else f"--data={options.data}"


def of_log(options: argparse.Namespace) -> dict[str, str]:
    """Returns the keys of an experiment that `--log` sets, and the text of their values.

    Raises:
      Refused: there is no such log.
    """
    from attention_jax.training.run.workdir import SHOWN

    names = arguments.listed(getattr(options, "log", None)) or []
    for name in names:
        if name not in SHOWN:
            raise Refused(f"there is no log {name!r}.{did_you_mean(name, SHOWN)}")
    return {f"log.{name}": "true" for name in names}


def sections(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the config of one experiment with the keys that are set, as the arguments of `Experiment`.

    Raises:
      Refused: it cannot be used, or is of a comparison.
    """
    from attention_jax.training import config

    found = load(options)
    if config.is_comparison(found):
        raise Refused(f"{options.config} is a comparison of {', '.join(found.benchmarks)}: use launch.py compare.")
    return config.plain(found)


def how(options: argparse.Namespace) -> "How":
    """Returns how a study is run, from the options of `add_study`."""
    from attention_jax.study.engine.run import How

    return How(options.workers, options.devices_per_cell, options.members, options.retry, options.storage)


def name_of(options: argparse.Namespace) -> str:
    """Returns the name of a config, from "FILE.py" or "FILE.py:ARG", or of data, from a path or "tfds:NAME"."""
    if options.data is None:
        file, _, argument = options.config.partition(".py:")
        return "_".join(filter(None, (Path(file).name.removesuffix(".py"), argument)))
    if options.data.startswith("tfds:"):
        return str(options.data).removeprefix("tfds:").replace("/", "_").replace(":", "_")
    return Path(options.data).resolve().stem


def workdir_of(options: argparse.Namespace) -> Path:
    """Returns the folder of a run."""
    return Path(options.workdir) if options.workdir else Path("runs") / name_of(options)


def _check_columns(options: argparse.Namespace) -> None:
    for option in ("text", "label"):
        column = getattr(options, option)
        if column is not None and options.data is None:
            raise Refused(f"--{option}={column} names a column of --data, which is not given: leave it out.")
