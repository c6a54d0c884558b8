"""Where workers run: cores of the CPU or devices for each, and the environment that a process is given for them."""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from attention_jax.base.errors import Refused

Kind = Literal["cpu", "gpu", "tpu"]
# Of a GPU's memory, for all workers on it together: JAX's own default for one.
_GPU_MEMORY = 0.75
# Chips of a worker on a TPU -> how they lie on the host. Others are no rectangle of every generation's host.
_TPU_BOUNDS = {1: "1,1,1", 4: "2,2,1", 8: "2,4,1"}


@dataclass(frozen=True)
class Machine:
    """What there is to run on.

    Attributes:
      kind: what JAX will compute on.
      units: the numbers of the CPU's cores that this process may use, or of the devices.
      devices: how many devices a cell has; of a CPU, XLA's, which may be more than its cores.
    """

    kind: Kind
    units: tuple[int, ...]
    devices: int = 1

    def with_devices(self, devices: int) -> "Machine":
        """Returns the machine with so many devices for each cell.

        Raises:
          Refused: there are not so many, or a worker cannot have that number of them.
        """
        asked = f"--devices_per_cell={devices}"
        if devices < 1:
            raise Refused(f"{asked}: give at least 1; there are {len(self.units)} {self}.")
        if self.kind != "cpu" and devices > len(self.units):
            raise Refused(f"{asked}: there are {len(self.units)} {self}; give at most that.")
        if self.kind == "tpu" and devices not in _TPU_BOUNDS:
            possible = ", ".join(str(count) for count in _TPU_BOUNDS if count <= len(self.units))
            raise Refused(f"{asked}: a worker has a rectangle of a TPU's chips: give one of {possible}.")
        return replace(self, devices=devices)

    @property
    def places(self) -> int:
        """How many workers there can be that share nothing; 1 where a CPU has fewer cores than a cell has devices."""
        return max(1, len(self.units) // self.devices)

    def workers(self, asked: int | None) -> int:
        """Returns how many workers to start: one for each place where nothing is asked.

        Raises:
          Refused: fewer than none are asked for.
        """
        if asked is None:
            return self.places
        if asked < 0:
            raise Refused(f"--workers={asked}: give 0 (in this process) or more; there are {len(self.units)} {self}.")
        return asked

    def share(self, worker: int) -> tuple[int, ...]:
        """Returns the cores or devices of a worker; they take turns where there are more workers."""
        first = worker % self.places * self.devices
        return self.units[first : first + self.devices]

    def crowded(self, workers: int) -> str | None:
        """Returns a line where so many workers do not have a core or device for each of their devices."""
        if workers <= self.places and self.devices <= len(self.units):
            return None
        sharing = f"{workers} workers" if self.devices == 1 else f"{max(1, workers)} x {self.devices} devices"
        return f"{sharing} share {len(self.units)} {self}"

    def __str__(self) -> str:
        return {"cpu": "cores", "gpu": "GPUs", "tpu": "TPU chips"}[self.kind]


def this_machine(environ: Mapping[str, str] = os.environ, dev: Path = Path("/dev")) -> Machine:
    """Returns what there is here, without starting JAX, which would take a device for this process.

    Args:
      environ: the variables of the process: JAX_PLATFORMS and CUDA_VISIBLE_DEVICES are the user's word.
      dev: the folder of device files.
    """
    platforms = environ.get("JAX_PLATFORMS", "").split(",")
    plugins = ("jax_cuda13_plugin", "jax_cuda12_plugin", "jax_rocm7_plugin")
    gpu_plugin = any(importlib.util.find_spec(name) is not None for name in plugins)
    if platforms[0] in ("cuda", "gpu", "rocm") or (platforms[0] == "" and gpu_plugin):
        there = sorted(int(file.name[6:]) for file in dev.glob("nvidia[0-9]*"))
        seen = environ.get("CUDA_VISIBLE_DEVICES")
        if seen is not None:
            there = [int(number) for number in seen.split(",") if number.strip().isdecimal()]
        if there:
            return Machine("gpu", tuple(there))
    if platforms[0] in ("tpu", "") and importlib.util.find_spec("libtpu") is not None:
        chips = len([*dev.glob("accel[0-9]*"), *dev.glob("vfio/[0-9]*")])
        if chips:
            return Machine("tpu", tuple(range(chips)))
    return Machine("cpu", tuple(sorted(os.sched_getaffinity(0))))


def worker_environment(
    machine: Machine, worker: int, *, workers: int, cache: Path, environ: Mapping[str, str]
) -> dict[str, str]:
    """Returns the whole environment of a worker process.

    Args:
      machine: what the workers share, and how much each has.
      worker: which one, from 0.
      workers: how many there are.
      cache: the folder of compiled programs, where the user has named none.
      environ: the variables of this process; what the user set stays.
    """
    chosen = {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        # By default JAX keeps nothing that compiled in less than a second, which is most of a small study.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        # On loading a program jaxlib 0.10.1 takes its own preferences for features of another machine, at length.
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    share = machine.share(worker)
    seen = ",".join(map(str, share))
    if machine.kind == "gpu":
        shares = sum(machine.share(other) == share for other in range(workers))
        environ = {**environ, "CUDA_VISIBLE_DEVICES": seen}
        chosen["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{_GPU_MEMORY / shares:.3f}"
    elif machine.kind == "tpu":
        environ = {**environ, "TPU_VISIBLE_CHIPS": seen}
        bounds = {"TPU_CHIPS_PER_PROCESS_BOUNDS": _TPU_BOUNDS[machine.devices], "TPU_PROCESS_BOUNDS": "1,1,1"}
        chosen |= {**bounds, "TPU_MESH_CONTROLLER_ADDRESS": f"localhost:{8476 + worker}"}
        chosen["TPU_MESH_CONTROLLER_PORT"] = str(8476 + worker)
    elif "xla_force_host_platform_device_count" not in environ.get("XLA_FLAGS", ""):
        environ = {**environ, "JAX_NUM_CPU_DEVICES": str(machine.devices)}
    return {**chosen, **environ}
