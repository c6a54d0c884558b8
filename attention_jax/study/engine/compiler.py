"""What XLA compiles in a process, counted, and the versions that results depend on. JAX is imported when asked."""

import functools
import importlib.metadata
import platform
import warnings
from collections import Counter
from contextlib import suppress
from typing import Any

# How JAX's warning begins where an entry of the cache on the disk is there and cannot be loaded.
_REFUSED_ENTRY = "Error reading persistent compilation cache entry"
_PACKAGES = ("attention_jax", "jax", "jaxlib", "flax", "optax", "numpy")


class Compiler:
    """What XLA compiles in this process, counted."""

    def __init__(self) -> None:
        import jax

        from attention_jax.kernels.supported import check_jax
        from attention_jax.training.parallel.host import keep_freed_memory

        keep_freed_memory()
        check_jax()
        self._requests, self._hits, self._refused = 0, 0, 0
        jax.monitoring.register_event_listener(self._event)
        jax.monitoring.register_event_duration_secs_listener(self._duration)
        # Of an entry that is there and cannot be used JAX says so by a warning alone; by default each is shown once.
        warnings.filterwarnings("always", message=_REFUSED_ENTRY)
        self._show, warnings.showwarning = warnings.showwarning, self._warned

    @property
    def counts(self) -> Counter[str]:
        """How many programs were compiled so far, came from the cache in place of it, and were refused by the cache."""
        compiled = self._requests - self._hits
        return Counter(compilations=compiled, cache_hits=self._hits, cache_refused=self._refused)

    def device(self) -> str:
        """Returns what it compiles for, such as "cpu"."""
        import jax

        return jax.devices()[0].device_kind

    def level(self) -> str | None:
        """Returns at which of XLA's levels it compiles."""
        from attention_jax.training.compiling import xla_level

        return xla_level()

    def _event(self, event: str, **kwargs: Any) -> None:
        self._hits += event == "/jax/compilation_cache/cache_hits"

    def _warned(self, message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        self._refused += str(message).startswith(_REFUSED_ENTRY)
        self._show(message, category, *where, **more)

    def _duration(self, event: str, duration_secs: float, **kwargs: Any) -> None:
        # Of every program, also where it came from the cache.
        self._requests += event == "/jax/core/compile/backend_compile_duration"


@functools.cache
def versions() -> dict[str, str]:
    """Returns what results depend on: the version of each package that is here, and Python's."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
