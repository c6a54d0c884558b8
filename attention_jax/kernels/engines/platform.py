"""Which device the program is for."""

import jax
from jax.extend.backend import get_default_device


def name() -> str:
    """Returns the platform of the default device: "cpu", "tpu", "cuda" or "rocm"."""
    device = get_default_device()
    if device.platform != "gpu":
        return device.platform
    return "rocm" if "rocm" in device.client.platform_version.lower() else "cuda"


def compute_capability() -> tuple[int, ...]:
    """Returns the generation of the default device, an NVIDIA GPU: (8, 0) for an A100, (9, 0) for an H100."""
    return tuple(int(part) for part in get_default_device().compute_capability.split("."))


def split_by_compiler() -> bool:
    """Returns whether the compiler may split the program: there are several devices, and no `shard_map` around it."""
    return jax.device_count() > 1 and not jax.sharding.get_abstract_mesh().are_all_axes_manual
