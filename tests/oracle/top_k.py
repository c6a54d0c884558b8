"""Softmax of the k largest scores: Zhao et al. 2019, equations 4 to 6."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.oracle.equations import Equation
from tests.oracle.scaled_dot import scaled_dot


def top_k(*, k: int) -> Equation:
    def normalise(scores):
        chosen = np.isin(np.arange(scores.size), np.argsort(-scores, kind="stable")[:k])
        weights = np.where(chosen, np.exp(scores - scores.max()), 0)
        return weights / weights.sum()

    def naive(scores):
        least = -jnp.sort(-scores, axis=-1)[..., k - 1 : k]
        return jax.nn.softmax(jnp.where(scores >= least, scores, -jnp.inf))

    return Equation(scaled_dot().score, normalise=normalise, naive=naive)
