"""Mechanisms made of others: one that joins several attentions, or attends with other arrays than it was given."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from attention_jax.kernels.mechanism import Mechanism
from attention_jax.kernels.problem import AttentionOutput, Problem

Solve = Callable[[Problem], AttentionOutput]


@dataclass(frozen=True, kw_only=True)
class Composition(Mechanism):
    """Whatever `run` makes of the solutions of its parts.

    Attributes:
      run: (problem, solve) -> the output. `problem` has the caller's arrays, as they are; `solve` computes a part, made
        by `part`, with the engine that fits it. A key that a query does not see must not touch its result: what goes
        over several tokens at once leaves out those that `problem.given.real` does not keep.
    """

    usual: ClassVar[dict[str, bool]] = {**Mechanism.usual, "convex": False}

    run: Callable[[Problem, Solve], AttentionOutput]


def part(problem: Problem, mechanism: Mechanism, *, name: str, **changes: Any) -> Problem:
    """Returns a part of a composition's problem: another mechanism, on the same arrays or on those in `changes`.

    Args:
      problem: the whole.
      mechanism: of the part; a rule of its own is not added to the mask.
      name: what the part is, for `explain` and for refusals.
      **changes: fields of `Problem`. The part asks for `out` alone, and has the arrays of the whole.
    """
    variant = replace(problem.variant, spec=f"{problem.variant.spec} ({name})", mechanism=mechanism)
    return replace(problem, **{"variant": variant, "outputs": ("out",), **changes})
