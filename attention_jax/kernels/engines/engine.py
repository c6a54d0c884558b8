"""What an engine is to `attend`."""

from collections.abc import Callable
from dataclasses import dataclass

from attention_jax.kernels.problem import AttentionOutput, Problem


@dataclass(frozen=True)
class Engine:
    """A way to compute attention.

    Attributes:
      refusal: why this engine cannot solve a problem, in one clause, or None when it can.
      run: solves a problem that it does not refuse.
    """

    refusal: Callable[[Problem], str | None]
    run: Callable[[Problem], AttentionOutput]
