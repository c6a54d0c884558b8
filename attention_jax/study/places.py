"""Where workers run: a core of the CPU or a device each, and the environment that a process is given for it."""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from attention_jax.kernels.errors import Refused

Kind = Literal["cpu", "gpu", "tpu"]
# Of a GPU's memory, for all workers on it together: JAX's own default for one.
_GPU_MEMORY = 0.75


@dataclass(frozen=True)
class Machine:
    """What there is to run on.

    Attributes:
      kind: what JAX will compute on.
      units: the numbers of the CPU's cores that this process may use, or of the devices.
    """

    kind: Kind
    units: tuple[int, ...]

    def workers(self, asked: int | None) -> int:
        """Returns how many workers to start: one a unit where nothing is asked.

        Raises:
          Refused: fewer than none are asked for.
        """
        if asked is None:
            return len(self.units)
        if asked < 0:
            raise Refused(f"--workers={asked}: give 0 (in this process) or more; there are {len(self.units)} {self}.")
        return asked

    def unit(self, worker: int) -> int:
        """Returns the core or device of a worker; they take turns where there are more workers."""
        return self.units[worker % len(self.units)]

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
      machine: what the workers share.
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
    unit = machine.unit(worker)
    if machine.kind == "gpu":
        shares = sum(machine.unit(other) == unit for other in range(workers))
        environ = {**environ, "CUDA_VISIBLE_DEVICES": str(unit)}
        chosen["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{_GPU_MEMORY / shares:.3f}"
    elif machine.kind == "tpu":
        environ = {**environ, "TPU_VISIBLE_CHIPS": str(unit)}
        one_chip = {"TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1", "TPU_PROCESS_BOUNDS": "1,1,1"}
        chosen |= {**one_chip, "TPU_MESH_CONTROLLER_ADDRESS": f"localhost:{8476 + worker}"}
        chosen["TPU_MESH_CONTROLLER_PORT"] = str(8476 + worker)
    elif "xla_force_host_platform_device_count" not in environ.get("XLA_FLAGS", ""):
        environ = {**environ, "JAX_NUM_CPU_DEVICES": "1"}
    return {**chosen, **environ}
