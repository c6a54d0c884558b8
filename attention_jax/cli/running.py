"""What the commands that run experiments share: the devices, the hosts, how a run ends, and what a config names."""

import argparse
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attention_jax.base.errors import Refused


def run_on_devices(command: Callable[[argparse.Namespace, str], int], options: argparse.Namespace, line: str) -> int:
    """Runs a command with every core as a device, joined to the other hosts; says when a run fails or is stopped.

    Args:
      command: what is run; a run that fails or is stopped ends it by an exception.
      options: its options; `devices`, and those of `add_hosts` where it has them, are heeded here.
      line: the command line, to say how to go on.

    Returns:
      The exit code.
    """
    from attention_jax.kernels.supported import check_jax
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


def sections(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the config of one experiment with the keys that are set, as the arguments of `Experiment`.

    Raises:
      Refused: it cannot be used, or is of a comparison.
    """
    from attention_jax.training import config

    chosen = config.load(options.config, options.overrides)
    if config.is_comparison(chosen):
        raise Refused(f"{options.config} is a comparison of {', '.join(chosen.benchmarks)}: use launch.py compare.")
    return config.plain(chosen)


def name_of(spec: str) -> str:
    """Returns the name of a config, from "FILE.py" or "FILE.py:ARG"."""
    file, _, argument = spec.partition(".py:")
    return "_".join(filter(None, (Path(file).name.removesuffix(".py"), argument)))


def workdir_of(options: argparse.Namespace) -> Path:
    """Returns the folder of a run."""
    return Path(options.workdir) if options.workdir else Path("runs") / name_of(options.config)
