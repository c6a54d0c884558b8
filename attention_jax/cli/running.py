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

    from attention_jax.study.engine import How


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
    from attention_jax.training import Interrupted, RunFailed, hosts
    from attention_jax.training.host import keep_freed_memory, use_cpu_devices, use_every_core

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
    """Returns the config, of an experiment or a comparison, with the keys that are set.

    Raises:
      Refused: it cannot be used.
    """
    from attention_jax.training import config

    chosen = config.load(options.config, options.overrides)
    parts = [f"benchmarks.{name}." for name in chosen.benchmarks] if config.is_comparison(chosen) else [""]
    shown = {f"{part}{key}": value for part in parts for key, value in of_log(options).items()}
    config.override(chosen, shown, owner=options.config)
    return chosen


def of_log(options: argparse.Namespace) -> dict[str, str]:
    """Returns the keys of an experiment that `--log` sets, and the text of their values.

    Raises:
      Refused: there is no such log.
    """
    from attention_jax.training.workdir import SHOWN

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

    chosen = load(options)
    if config.is_comparison(chosen):
        raise Refused(f"{options.config} is a comparison of {', '.join(chosen.benchmarks)}: use launch.py compare.")
    return config.plain(chosen)


def how(options: argparse.Namespace) -> "How":
    """Returns how a study is run, from the options of `add_study`."""
    from attention_jax.study.engine import How

    return How(options.workers, options.devices_per_cell, options.retry, options.storage)


def name_of(spec: str) -> str:
    """Returns the name of a config, from "FILE.py" or "FILE.py:ARG"."""
    file, _, argument = spec.partition(".py:")
    return "_".join(filter(None, (Path(file).name.removesuffix(".py"), argument)))


def workdir_of(options: argparse.Namespace) -> Path:
    """Returns the folder of a run."""
    return Path(options.workdir) if options.workdir else Path("runs") / name_of(options.config)
