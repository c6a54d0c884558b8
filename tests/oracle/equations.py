"""Every variant from the equation in its paper: the score of one query and one key, or one step of its recurrence.

Nothing here is shared with the library. `xp` is NumPy in the float64 oracle and `jax.numpy` in the naive implementation
that the library's rounding is measured against.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.kernels import lookup

Score = Callable[..., Any]


def everywhere(query_position: int, key_position: int) -> bool:
    """The rule of a variant that restricts nothing."""
    return True


@dataclass(frozen=True)
class Equation:
    """A variant, one pair at a time.

    Attributes:
      score: (xp, query [H], key [J], params, query head, key head) -> a number.
      exponential: whether the unnormalised weight is exp(score), or the score itself.
      sees: (query position, key position) -> whether the variant's own rule lets the one see the other.
      normalise: the scores of the keys that are seen -> their weights; None where they are divided by their sum.
      naive: (scores [..., S], -inf for hidden keys) -> weights, as one writes it without care.
    """

    score: Score
    exponential: bool = True
    sees: Callable[[int, int], bool] = everywhere
    normalise: Callable[[Any], Any] | None = None
    naive: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Recurrence:
    """A variant, one token at a time: its state [J, Hv] starts at 0.

    Attributes:
      step: (xp, state, key [J], value [Hv], params, what is beside the token by name, key head) -> the next state.
      read: (xp, state, query [H]) -> the output [Hv].
    """

    step: Callable[..., Any]
    read: Callable[..., Any]


def scaled_dot(*, scale: float | None = None) -> Equation:
    """q.k / sqrt(H): Vaswani et al. 2017, equation 1; or q.k times a scale."""

    def score(xp, query, key, params, head, kv_head):
        return query @ key / query.shape[0] ** 0.5 if scale is None else scale * (query @ key)

    return Equation(score)


def _by_threshold(power: int) -> Callable[[Any], Any]:
    """The weights [z - tau]_+^power that sum to 1, tau found by halving the interval that it lies in."""

    def normalise(scores: Any) -> Any:
        low, high = scores.max() - 1, scores.max()
        for _ in range(100):
            middle = (low + high) / 2
            enough = (np.maximum(scores - middle, 0) ** power).sum() >= 1
            low, high = (middle, high) if enough else (low, middle)
        return np.maximum(scores - low, 0) ** power

    return normalise


def sparsemax() -> Equation:
    """argmin over the simplex of |w - z|^2: Martins & Astudillo 2016, equations 2 and 3."""

    def naive(scores):
        ordered = -jnp.sort(-scores, axis=-1)
        count = jnp.arange(1, scores.shape[-1] + 1)
        total = jnp.cumsum(jnp.where(ordered > -jnp.inf, ordered, 0), axis=-1)
        size = (1 + count * ordered > total).sum(-1, keepdims=True)
        return jnp.maximum(scores - (jnp.take_along_axis(total, size - 1, -1) - 1) / size, 0)

    return Equation(scaled_dot().score, normalise=_by_threshold(1), naive=naive)


def entmax15() -> Equation:
    """[z / 2 - tau]_+^2 with a sum of 1: Peters et al. 2019, equation 9 with alpha = 1.5."""
    weights = _by_threshold(2)

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


def top_k(*, k: int) -> Equation:
    """Softmax of the k largest scores: Zhao et al. 2019, equations 4 to 6."""

    def normalise(scores):
        chosen = np.isin(np.arange(scores.size), np.argsort(-scores, kind="stable")[:k])
        weights = np.where(chosen, np.exp(scores - scores.max()), 0)
        return weights / weights.sum()

    def naive(scores):
        least = -jnp.sort(-scores, axis=-1)[..., k - 1 : k]
        return jax.nn.softmax(jnp.where(scores >= least, scores, -jnp.inf))

    return Equation(scaled_dot().score, normalise=normalise, naive=naive)


def sliding_window(*, window: int) -> Equation:
    """q.k / sqrt(H) for |i - j| < w: Beltagy et al. 2020, section 3.1."""
    return Equation(scaled_dot().score, sees=lambda i, j: abs(i - j) < window)


def cosine(*, beta: float) -> Equation:
    """cos(q, k) / tau with tau > 0.01, learned as log(1 / tau): Liu et al. 2021 (Swin Transformer V2), equation 2."""

    def score(xp, query, key, params, head, kv_head):
        cosine = query @ key / (xp.sqrt(query @ query) * xp.sqrt(key @ key))
        return cosine * xp.minimum(xp.exp(params["log_beta"][head]), 100)

    return Equation(score)


def additive(*, hidden: int | None) -> Equation:
    """v^T tanh(W s + U h): Bahdanau et al. 2014, appendix A.1.2."""

    def score(xp, query, key, params, head, kv_head):
        hidden_layer = xp.tanh(query @ params["query"][head] + key @ params["key"][kv_head])
        return hidden_layer @ params["value"][head]

    return Equation(score)


def general() -> Equation:
    """h_t^T W h_s: Luong et al. 2015, equation 8."""
    return Equation(lambda xp, query, key, params, head, kv_head: query @ params["weight"][head] @ key)


def linear() -> Equation:
    """phi(q)^T phi(k), phi(x) = elu(x) + 1: Katharopoulos et al. 2020, equations 5 and 7."""

    def score(xp, query, key, params, head, kv_head):
        def phi(x):
            return xp.where(x > 0, x + 1, xp.exp(xp.minimum(x, 0)))

        return phi(query) @ phi(key)

    return Equation(score, exponential=False)


def performer(*, features: int | None) -> Equation:
    """mean_m exp(w_m.x - |x|^2/2) exp(w_m.y - |y|^2/2): Choromanski et al. 2020, lemma 1, x and y q and k / H^(1/4)."""

    def score(xp, query, key, params, head, kv_head):
        x, y = (token / token.shape[0] ** 0.25 for token in (query, key))
        exponents = params["projection"] @ x - x @ x / 2 + params["projection"] @ y - y @ y / 2
        return xp.mean(xp.exp(exponents))

    return Equation(score, exponential=False)


def uniform() -> Equation:
    """1: the mean of what is visible."""
    return Equation(lambda xp, query, key, params, head, kv_head: 0 * query[0] + 1, exponential=False)


def _sigmoid(xp, x):
    return 1 / (1 + xp.exp(-x))


def _softplus(xp, x):
    return xp.log1p(xp.exp(x))


def _unit(xp, x):
    return x / xp.sqrt(x @ x)


def _scaled_read(xp, state, query):
    return query @ state / query.shape[0] ** 0.5


def _unit_read(xp, state, query):
    return _scaled_read(xp, state, _unit(xp, query))


def _selective(xp, params, beside, head):
    """exp(-A softplus(gate + bias)): Dao & Gu 2024; the bias one number or one for each channel."""
    return xp.exp(-xp.exp(params["log_rate"][head]) * _softplus(xp, beside["gate"] + params["step_bias"][head]))


def _replace(xp, state, key, value, strength):
    """(I - b k k^T) S + b k v^T."""
    matrix = xp.eye(key.shape[0], dtype=state.dtype) - strength * xp.outer(key, key)
    return matrix @ state + strength * xp.outer(key, value)


def retention() -> Recurrence:
    """gamma S + k v^T: Sun et al. 2023, equation 6."""

    def step(xp, state, key, value, params, beside, head):
        return xp.exp(params["log_decay"][head]) * state + xp.outer(key, value)

    return Recurrence(step, _scaled_read)


def gated_retention(*, temperature: float) -> Recurrence:
    """sigmoid(gate)^(1/tau) S + k v^T: Sun et al. 2024 (YOCO), section 3.1."""

    def step(xp, state, key, value, params, beside, head):
        return _sigmoid(xp, beside["gate"]) ** (1 / temperature) * state + xp.outer(key, value)

    return Recurrence(step, _scaled_read)


def gated_linear(*, temperature: float) -> Recurrence:
    """diag(sigmoid(gate)^(1/tau)) S + k v^T: Yang et al. 2023, section 4.1."""

    def step(xp, state, key, value, params, beside, head):
        return (_sigmoid(xp, beside["gate"]) ** (1 / temperature))[:, None] * state + xp.outer(key, value)

    return Recurrence(step, _scaled_read)


def mamba2() -> Recurrence:
    """exp(-A d) S + d k v^T with d = softplus(gate + bias): Dao & Gu 2024, section 2."""

    def step(xp, state, key, value, params, beside, head):
        size = _softplus(xp, beside["gate"] + params["step_bias"][head])
        return _selective(xp, params, beside, head) * state + size * xp.outer(key, value)

    return Recurrence(step, lambda xp, state, query: query @ state)


def delta_net() -> Recurrence:
    """(I - b k k^T) S + b k v^T, k a unit vector, b = sigmoid(beta): Yang et al. 2024, section 2.2."""

    def step(xp, state, key, value, params, beside, head):
        return _replace(xp, state, _unit(xp, key), value, _sigmoid(xp, beside["beta"]))

    return Recurrence(step, _unit_read)


def gated_delta_net() -> Recurrence:
    """(I - b k k^T) a S + b k v^T: Yang et al. 2024 (Gated DeltaNet), equation 10."""

    def step(xp, state, key, value, params, beside, head):
        state = _selective(xp, params, beside, head) * state
        return _replace(xp, state, _unit(xp, key), value, _sigmoid(xp, beside["beta"]))

    return Recurrence(step, _unit_read)


def kimi_delta() -> Recurrence:
    """(I - b k k^T) diag(a) S + b k v^T: Kimi Team 2025, equation 1."""

    def step(xp, state, key, value, params, beside, head):
        state = _selective(xp, params, beside, head)[:, None] * state
        return _replace(xp, state, _unit(xp, key), value, _sigmoid(xp, beside["beta"]))

    return Recurrence(step, _unit_read)


EQUATIONS: dict[str, Callable[..., Equation | Recurrence]] = {
    equation.__name__: equation
    for equation in (
        *(scaled_dot, sliding_window, cosine, additive, general, linear, performer, uniform),
        *(sparsemax, entmax15, top_k),  # of whole rows
        *(retention, gated_retention, gated_linear, mamba2, delta_net, gated_delta_net, kimi_delta),
    )
}


def equation(spec: str) -> Equation | Recurrence:
    """Returns the equation of the variant that `spec` chooses, with its options."""
    variant = lookup(spec)
    return EQUATIONS[variant.name](**{name: chosen for name, (_, chosen) in variant.options.items()})
