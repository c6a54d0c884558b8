"""argmin over the simplex of |w - z|^2: Martins & Astudillo 2016, equations 2 and 3."""

import jax.numpy as jnp

from tests.oracle.equations import Equation
from tests.oracle.functions import by_threshold
from tests.oracle.scaled_dot import scaled_dot


def sparsemax() -> Equation:
    def naive(scores):
        ordered = -jnp.sort(-scores, axis=-1)
        count = jnp.arange(1, scores.shape[-1] + 1)
        total = jnp.cumsum(jnp.where(ordered > -jnp.inf, ordered, 0), axis=-1)
        size = (1 + count * ordered > total).sum(-1, keepdims=True)
        return jnp.maximum(scores - (jnp.take_along_axis(total, size - 1, -1) - 1) / size, 0)

    return Equation(scaled_dot().score, normalise=by_threshold(1), naive=naive)
