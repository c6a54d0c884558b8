"""The machine and the versions that a report names."""

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import jax


@dataclass(frozen=True)
class Environment:
    """Where the report was written, which is where its last runs were trained.

    Attributes:
      hardware: the devices jax uses, such as "2 x cpu".
      cpu: model and number of cores that this process may use.
      system: operating system and machine.
      python, jax, flax: versions.
    """

    hardware: str
    cpu: str
    system: str
    python: str
    jax: str
    flax: str


def environment() -> Environment:
    """Returns the environment of this process."""
    devices = jax.devices()
    return Environment(
        hardware=f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        cpu=cpu(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        jax=importlib.metadata.version("jax"),
        flax=importlib.metadata.version("flax"),
    )


def cpu() -> str:
    """Returns the model of the CPU and the number of cores that this process may use."""
    cores = _cores()
    return f"{_cpu_model()}, {cores} core{'' if cores == 1 else 's'}"


def _cores() -> int:
    # What the process may use: a container or a Slurm job is often given fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # only Linux has it; `platform.processor` is often empty there
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
