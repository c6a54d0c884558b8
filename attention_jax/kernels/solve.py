"""A checked problem solved: by one engine, or part by part where the mechanism is made of others."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.kernels.composition import Composition
from attention_jax.kernels.engines import ENGINES
from attention_jax.kernels.engines.choice import Candidate, candidates, choose
from attention_jax.kernels.problem import AttentionOutput, Problem


def solve(problem: Problem, engine: str | None = None) -> AttentionOutput:
    """Computes a problem, or each part of it, with the engine named, or with the fastest that can.

    Raises:
      Refused: there is no such engine, or it cannot solve the problem or a part of it, or none can.
    """
    mechanism = problem.variant.mechanism
    if isinstance(mechanism, Composition):
        return mechanism.run(problem, partial(solve, engine=engine))
    return ENGINES[choose(problem, engine)].run(problem)


def explained(problem: Problem) -> list[Candidate]:
    """Returns what each engine would do with the problem, or with each part of it, in the order they are solved in."""
    mechanism = problem.variant.mechanism
    if not isinstance(mechanism, Composition):
        return candidates(problem)
    told: list[Candidate] = []

    def tell(part: Problem) -> AttentionOutput:
        said = explained(part)
        told.extend(said)
        return solve(part) if any(candidate.qualified for candidate in said) else _zeros(part)

    jax.eval_shape(lambda: mechanism.run(problem, tell).out)
    return told


def _zeros(problem: Problem) -> AttentionOutput:
    """In the place of what no engine can solve, so that the parts after it are told of too."""
    batch, queries, heads, _ = problem.query.shape
    rows = (batch, heads, queries)
    pairs = (*rows, problem.key.shape[1])
    shapes: dict[str, tuple[int, ...]] = {"weights": pairs, "logits": pairs, "lse": rows}
    out = jnp.zeros((batch, queries, heads, problem.value.shape[-1]), problem.query.dtype)
    asked: dict[str, Any] = {name: jnp.zeros(shape) for name, shape in shapes.items() if name in problem.outputs}
    return AttentionOutput(out, **asked)
