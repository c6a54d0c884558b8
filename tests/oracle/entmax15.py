"""[z / 2 - tau]_+^2 with a sum of 1: Peters et al. 2019, equation 9 with alpha = 1.5."""

import jax.numpy as jnp

from tests.oracle.equations import Equation
from tests.oracle.functions import by_threshold
from tests.oracle.scaled_dot import scaled_dot


def entmax15() -> Equation:
    weights = by_threshold(2)

    def naive(scores):
        half = scores / 2
        ordered = -jnp.sort(-half, axis=-1)
        there, count = ordered > -jnp.inf, jnp.arange(1, half.shape[-1] + 1)
        ordered = jnp.where(there, ordered, 0)
        mean = jnp.cumsum(ordered, -1) / count
        left = (1 - (jnp.cumsum(ordered**2, -1) - count * mean**2)) / count
        tau = mean - jnp.sqrt(jnp.where(left > 0, left, 1e-30))
        size = (there & (left > 0) & (tau <= ordered)).sum(-1, keepdims=True)
        return jnp.maximum(half - jnp.take_along_axis(tau, size - 1, -1), 0) ** 2

    return Equation(scaled_dot().score, normalise=lambda scores: weights(scores / 2), naive=naive)
