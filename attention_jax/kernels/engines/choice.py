"""Which engine solves a problem: one table of rules, the first that holds wins."""

from collections.abc import Callable
from dataclasses import dataclass

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.kernels.engines import ENGINES
from attention_jax.kernels.problem import Problem


@dataclass(frozen=True)
class Rule:
    """An engine that is the fastest of those that can, in some cases.

    Attributes:
      engine: its name.
      holds: whether the case is given.
      when: the case in words.
    """

    engine: str
    holds: Callable[[Problem], bool]
    when: str


@dataclass(frozen=True)
class Candidate:
    """What `explain` says of one engine.

    Attributes:
      engine: its name.
      problem: the spec of what it would solve: of the variant, or of a part of it.
      taken: whether `attend` uses it.
      qualified: whether it can solve the problem.
      reason: why it is taken, or why not.
    """

    engine: str
    problem: str
    taken: bool
    qualified: bool
    reason: str


def _always(problem: Problem) -> bool:
    return True


def _few_pairs(problem: Problem) -> bool:
    return problem.query.shape[1] * problem.key.shape[1] <= FEW_PAIRS


def _many_keys(problem: Problem) -> bool:
    return problem.key.shape[1] >= MANY_KEYS * problem.query.shape[1]


# Keys for each query from which reading them once pays.
MANY_KEYS = 32
# Pairs of a query and a key below which the loops of the other engines cost more than they save, measured on 2 CPU
# cores (docs/decisions.md).
FEW_PAIRS = 2**15

RULES = (
    Rule("cudnn", _always, "on an NVIDIA GPU, in bfloat16 or float16, it is cuDNN's fused kernel"),
    Rule("splash", _always, "on a TPU it is the fused kernel for these masks"),
    Rule("recurrence", _always, "it is linear in the number of tokens"),
    Rule("decode", _many_keys, "few queries meet many keys, which it reads once"),
    Rule("dense", _few_pairs, "with so few pairs, to form all logits costs least"),
    Rule("gather", _always, "the mask leaves few tiles, which are gathered"),
    Rule("blockwise", _always, "it never holds all logits"),
    Rule("rows", _always, "it holds the logits of some queries at a time"),
    Rule("dense", _always, "no other can"),
    Rule("stepwise", _always, "each query needs what those before it have left"),
)


def candidates(problem: Problem) -> list[Candidate]:
    """Returns, for each engine, whether it would solve the problem, and the reason."""
    refusals = {name: engine.refusal(problem) for name, engine in ENGINES.items()}
    chosen = next((rule for rule in RULES if refusals[rule.engine] is None and rule.holds(problem)), None)
    told = []
    for name, refusal in refusals.items():
        taken = chosen is not None and name == chosen.engine
        reason = f"the fastest that can: {chosen.when}" if taken and chosen else refusal or "it is slower"
        told.append(Candidate(name, problem.variant.spec, taken, refusal is None, reason))
    return told


def choose(problem: Problem, engine: str | None) -> str:
    """Returns the engine that was asked for by name, or the fastest that can.

    Raises:
      Refused: there is no such engine, it cannot solve the problem, or none can.
    """
    if engine is not None and engine not in ENGINES:
        raise Refused(f"there is no engine {engine!r}.{did_you_mean(engine, ENGINES)}")
    if engine is not None:
        reason = ENGINES[engine].refusal(problem)
        if reason is not None:
            raise Refused(f"engine {engine} cannot run {problem.variant.spec} here: {reason}. Use engine=None.")
        return engine
    told = candidates(problem)
    for candidate in told:
        if candidate.taken:
            return candidate.engine
    every = "; ".join(f"{candidate.engine}: {candidate.reason}" for candidate in told)
    raise Refused(f"no engine can run {problem.variant.spec} with these arguments. {every}.")
