"""Functions that the equations of several mechanisms share."""

from collections.abc import Callable
from typing import Any

import numpy as np


def by_threshold(power: int) -> Callable[[Any], Any]:
    """The weights [z - tau]_+^power that sum to 1, tau found by halving the interval that it lies in."""

    def normalise(scores: Any) -> Any:
        low, high = scores.max() - 1, scores.max()
        for _ in range(100):
            middle = (low + high) / 2
            enough = (np.maximum(scores - middle, 0) ** power).sum() >= 1
            low, high = (middle, high) if enough else (low, middle)
        return np.maximum(scores - low, 0) ** power

    return normalise


def sigmoid(xp, x):
    """1 / (1 + exp(-x))."""
    return 1 / (1 + xp.exp(-x))


def softplus(xp, x):
    """log(1 + exp(x))."""
    return xp.log1p(xp.exp(x))


def unit(xp, x):
    """The vector over its length."""
    return x / xp.sqrt(x @ x)


def scaled_read(xp, state, query):
    """S^T q / sqrt(H)."""
    return query @ state / query.shape[0] ** 0.5


def unit_read(xp, state, query):
    """S^T q / sqrt(H), q a unit vector."""
    return scaled_read(xp, state, unit(xp, query))


def selective(xp, params, per_token, head):
    """exp(-A softplus(gate + bias)): Dao & Gu 2024; the bias one number or one for each channel."""
    return xp.exp(-xp.exp(params["log_rate"][head]) * softplus(xp, per_token["gate"] + params["step_bias"][head]))


def replace(xp, state, key, value, strength):
    """(I - b k k^T) S + b k v^T."""
    matrix = xp.eye(key.shape[0], dtype=state.dtype) - strength * xp.outer(key, key)
    return matrix @ state + strength * xp.outer(key, value)
