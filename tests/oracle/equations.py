"""The score of one query and one key, for every variant, from the equation in its paper.

Nothing here is shared with the library. `xp` is NumPy in the float64 oracle and `jax.numpy` in the naive implementation
that the library's rounding is measured against.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
    """

    score: Score
    exponential: bool = True
    sees: Callable[[int, int], bool] = everywhere


def scaled_dot(*, scale: float | None = None) -> Equation:
    """q.k / sqrt(H): Vaswani et al. 2017, equation 1; or q.k times a scale."""

    def score(xp, query, key, params, head, kv_head):
        return query @ key / query.shape[0] ** 0.5 if scale is None else scale * (query @ key)

    return Equation(score)


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


EQUATIONS: dict[str, Callable[..., Equation]] = {
    equation.__name__: equation
    for equation in (scaled_dot, sliding_window, cosine, additive, general, linear, performer, uniform)
}


def equation(spec: str) -> Equation:
    """Returns the equation of the variant that `spec` chooses, with its options."""
    variant = lookup(spec)
    return EQUATIONS[variant.name](**{name: chosen for name, (_, chosen) in variant.options.items()})
