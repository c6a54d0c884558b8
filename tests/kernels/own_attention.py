"""Mechanisms that no variant of the library is made of: a soft cap, a sink, and scores that count their uses."""

import jax

from attention_jax.kernels import Claims, Composition, SoftmaxScore, Source, constant, register, with_sink
from attention_jax.kernels.mechanism import dot


@register(source=Source("Gemma 2 report 2024", "section 2"), claims=Claims())
def capped(*, cap: float = 1.5) -> SoftmaxScore:
    """Scaled dot products z, taken as cap tanh(z / cap)."""
    return SoftmaxScore(scale=None, soft_cap=cap)


@register(source=Source("Xiao et al. 2023", "section 3.3"), claims=Claims())
def sunk(*, start: float = 0.0) -> Composition:
    """Scaled dot products with a learned sink for each head, which is softmax-1 at 0."""
    score = SoftmaxScore(scale=None, arrays={"sink": constant(start, "N")})
    return with_sink(score, lambda given: given.params["sink"])


def counting(query, key, given):
    """Dot products; how often they were traced is in `counting.traces`."""
    counting.traces += 1
    return dot(query, key, given)


counting.traces = 0


@register(source=Source("this file", "none"), claims=Claims())
def counted() -> SoftmaxScore:
    """Scaled dot products."""
    return SoftmaxScore(scale=None, pairwise=counting)


def metering(query, key, given):
    """Dot products; how often they were computed is in `metering.runs`."""
    jax.debug.callback(_metered)
    return dot(query, key, given)


def _metered():
    metering.runs += 1


metering.runs = 0


@register(source=Source("this file", "none"), claims=Claims())
def metered() -> SoftmaxScore:
    """Scaled dot products."""
    return SoftmaxScore(scale=None, pairwise=metering)
