"""What the kernels of other libraries take: a softmax over scaled dot products, under masks of a few kinds."""

from dataclasses import dataclass

from jaxtyping import Array, Float

from attention_jax.kernels.engines.poison import finite
from attention_jax.kernels.mask import Causal, Padding, Segments, Window
from attention_jax.kernels.mask_algebra import Mask, describe, terms
from attention_jax.kernels.mechanism import SoftmaxScore, dot
from attention_jax.kernels.problem import Problem
from attention_jax.kernels.scores import scorer_of


@dataclass(frozen=True)
class Parts:
    """A mask taken apart.

    Attributes:
      left: how many positions before its own a query sees at most, or None for all.
      right: how many after its own, or None for all; 0 is causal.
      paddings: the rules by key.
      segments: the rules by segment.
    """

    left: int | None
    right: int | None
    paddings: tuple[Padding, ...]
    segments: tuple[Segments, ...]


def parts_of(mask: Mask | None, *, keys: int) -> Parts | None:
    """Returns a mask of `keys` keys taken apart, or None when it has other parts than these."""
    rules = terms(mask)
    if not all(isinstance(rule, (Causal, Window, Padding, Segments)) for rule in rules):
        return None
    reach = [rule.size - 1 for rule in rules if isinstance(rule, Window) and rule.size < keys]
    return Parts(
        left=min(reach, default=None),
        right=0 if any(isinstance(rule, Causal) for rule in rules) else min(reach, default=None),
        paddings=tuple(rule for rule in rules if isinstance(rule, Padding)),
        segments=tuple(rule for rule in rules if isinstance(rule, Segments)),
    )


def parts(problem: Problem) -> Parts:
    """Returns the mask of a problem that `refusal` does not refuse, taken apart."""
    found = parts_of(problem.mask, keys=problem.key.shape[1])
    assert found is not None
    return found


def refusal(problem: Problem) -> str | None:
    """Returns why no kernel for plain dot-product attention can solve the problem, or None."""
    mechanism = problem.variant.mechanism
    if not isinstance(mechanism, SoftmaxScore) or mechanism.pairwise is not dot:
        return "its scores are not dot products with a scale"
    if parts_of(problem.mask, keys=problem.key.shape[1]) is None:
        return f"it takes Causal, Window, Padding and Segments joined by &, not {describe(problem.mask)}"
    refused = {
        f"it returns no {', '.join(sorted({*problem.outputs} - {'out'}))}": problem.outputs != ("out",),
        "it takes a whole problem, not one device's share of it": problem.share is not None,
        "it takes no bias": problem.bias is not None,
        "it takes no score_mod": problem.score_mod is not None,
        "it does not drop weights by their position": problem.dropout_rate > 0,
        "it takes tokens in their order in the array, not by positions": problem.positions is not None,
    }
    return next((reason for reason, holds in refused.items() if holds), None)


def operands(problem: Problem) -> tuple[Float[Array, "B T N P"], Float[Array, "B S K P"], Float[Array, "B S K Hv"]]:
    """Returns query, key and value after the mechanism's own preparation, with 0 for what is not finite.

    `jax.eval_shape(lambda: operands(problem))` gives their shapes and dtypes and computes nothing.
    """
    mechanism = problem.variant.mechanism
    assert isinstance(mechanism, SoftmaxScore)
    given = problem.given
    query = mechanism.prepare_query(finite(problem.query), given)
    key = mechanism.prepare_key(finite(problem.key), given)
    return query, key, finite(problem.value)


def scale_of(problem: Problem, query: Float[Array, "B T N P"]) -> float:
    """Returns what multiplies the dot products with these prepared queries."""
    mechanism = problem.variant.mechanism
    assert isinstance(mechanism, SoftmaxScore)
    return scorer_of(mechanism, None, width=query.shape[-1]).scale
