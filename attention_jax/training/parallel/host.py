"""How this machine's CPU is used: every core a device, and memory that stays with the process between two steps."""

import ctypes
import os

import jax

from attention_jax.base.errors import Refused

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def use_every_core() -> None:
    """Makes every core of a CPU a device, unless the user has said how many; call it before JAX is used.

    XLA's CPU backend runs element-wise work on one thread, so a batch split over one device a core is faster.
    """
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))


def use_cpu_devices(number: int) -> None:
    """Computes on this many CPU devices, whatever there is; call it before JAX is used.

    Raises:
      Refused: the number is less than 1.
    """
    if number < 1:
        raise Refused(f"--devices={number}: give at least 1.")
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", number)


def keep_freed_memory() -> None:
    """Keeps glibc from handing freed memory back to the kernel; does nothing under another C library.

    XLA's CPU backend allocates the temporaries of a step as one block and frees it at the end. By default glibc maps
    and unmaps it each time, and the kernel zeroes every page again: a third of the CPU time of a ViT step
    (docs/decisions.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
