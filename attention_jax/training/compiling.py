"""At which of XLA's optimisation levels the programs of an experiment are compiled on a CPU.

Most of a small run is compiling. What runs once is compiled at level 0; what runs often at 1, whose code is as fast as
that of the default, 3 (docs/decisions.md). The level is one of the options in the key of JAX's cache. Another level may
round otherwise: what a run computes is equal to the bit at the same levels alone.
"""

import os
import re
from collections.abc import Callable
from typing import Any, Literal

import jax

LEVELS = {"state": 0, "step": 1, "evaluation": 1}
Program = Literal["state", "step", "evaluation"]
_FLAG = re.compile(r"--xla_backend_optimization_level=(\d+)")


def compiler_options(program: Program) -> dict[str, bool | int | float | str] | None:
    """Returns the options that a program is compiled with; None where the user has said the level, and on no CPU."""
    return {"xla_backend_optimization_level": LEVELS[program]} if _is_ours() else None


def uncompiled(jitted: Any) -> Callable[..., Any]:
    """Returns the function that `jax.jit` was given, to be traced into another that is compiled as a whole.

    JAX takes options of the compiler from the outermost jit alone, and refuses them within.
    """
    return jitted.__wrapped__


def xla_level() -> str | None:
    """Returns the levels in words, such as "3 by XLA_FLAGS", for the record of a run; None for the default."""
    flag = _FLAG.findall(os.environ.get("XLA_FLAGS", ""))
    if flag:
        return f"{flag[-1]} by XLA_FLAGS"
    return ", ".join(f"{program} {level}" for program, level in LEVELS.items()) if _is_ours() else None


def _is_ours() -> bool:
    said = _FLAG.search(os.environ.get("XLA_FLAGS", "")) is not None or jax.config.read(
        "jax_disable_most_optimizations"
    )
    return not said and jax.default_backend() == "cpu"
