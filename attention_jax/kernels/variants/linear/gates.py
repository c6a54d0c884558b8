"""What the recurrences with gates have in common: their claims, unit vectors, and the gate of Mamba-2."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Declared, Sizes
from attention_jax.kernels.mechanism import Given, to_statistics, unit
from attention_jax.kernels.registry import Claims

CLAIMS = Claims(
    bidirectional=False,
    cross=False,
    bias=False,
    dropout=False,
    weights=False,
    lse=False,
    state=True,
)

# exp(80) is finite in float32, and so is the sum of a few thousand: a decay of exp(-exp(80)) is 0 with gradients of 0.
LARGEST_LOG_RATE = 80.0


def scaled(query: Float[Array, "B T N H"], given: Given) -> Float[Array, "B T N H"]:
    """The `prepare_query` that divides by sqrt(H)."""
    return to_statistics(query) * query.shape[-1] ** -0.5


def unit_scaled(query: Float[Array, "B T N H"], given: Given) -> Float[Array, "B T N H"]:
    """The `prepare_query` that divides by the norm and by sqrt(H)."""
    return unit(query) * query.shape[-1] ** -0.5


def unit_key(key: Float[Array, "B S K J"], given: Given) -> Float[Array, "B S K J"]:
    """The `prepare_key` that divides by the norm."""
    return unit(key)


def write_strength(max_beta: float, *, owner: str) -> Callable[[Given], Array]:
    """Returns the `strength` of the delta rule, b = max_beta sigmoid(beta).

    Up to 1, I - b k k^T has its eigenvalues in (0, 1]; up to 2, in (-1, 1]: a token can then turn a state around and so
    count modulo 2, which none can with those of one sign (Grazzi et al. 2024, arXiv 2411.12537, theorem 1).

    Raises:
      Refused: max_beta is not in (0, 2].
    """
    if not 0 < max_beta <= 2:
        raise Refused(f"{owner} has max_beta={max_beta}: above 2 a write grows what it takes out; give 1, or up to 2.")
    return lambda given: max_beta * jax.nn.sigmoid(given.per_token["beta"])


def tempered_log_decay(temperature: float, *, owner: str) -> Callable[[Array, Given], Array]:
    """Returns the `log_decay` of sigmoid(gate)^(1 / temperature).

    Raises:
      Refused: temperature is not positive.
    """
    if not temperature > 0:
        raise Refused(f"{owner} has temperature={temperature}: it must be positive; the paper's is 16.")
    return lambda key, given: jax.nn.log_sigmoid(given.per_token["gate"]) / temperature


def selective_gate(*channels: str) -> dict[str, Declared]:
    """Declares the arrays of Mamba-2's gate, drawn as by its authors (Dao & Gu 2024, arXiv 2405.21060).

    Returns:
      `log_rate` [K], the log of a rate uniform in [1, 16], and `step_bias` [K, *channels], for steps that are
      log-uniform in [0.001, 0.1] at an input of 0.
    """
    return {"log_rate": Declared(("K",), _log_rate), "step_bias": Declared(("K", *channels), _step_bias)}


def _log_rate(rng: PRNGKeyArray, shape: tuple[int, ...], sizes: Sizes) -> Array:
    return jnp.log(jax.random.uniform(rng, shape, jnp.float32, 1, 16))


def _step_bias(rng: PRNGKeyArray, shape: tuple[int, ...], sizes: Sizes) -> Array:
    step = jnp.exp(jax.random.uniform(rng, shape, jnp.float32, jnp.log(0.001), jnp.log(0.1)))
    return step + jnp.log(-jnp.expm1(-step))


def selective_log_decay(key: Float[Array, "B S K J"], given: Given) -> Float[Array, "B S K *channels"]:
    """The `log_decay` of Mamba-2's gate: -exp(log_rate) softplus(gate + step_bias).

    Its logarithm is formed first, since a large rate times a small step overflows before it is multiplied.
    """
    gate, bias = given.per_token["gate"], given.params["step_bias"]
    log_rate = given.params["log_rate"].reshape(-1, *[1] * (bias.ndim - 1))
    spread = range(gate.ndim - bias.ndim)
    log_step = _log_softplus(gate + jnp.expand_dims(bias, spread))
    return -jnp.exp(jnp.minimum(jnp.expand_dims(log_rate, spread) + log_step, LARGEST_LOG_RATE))


def _log_softplus(array: Float[Array, "*a"]) -> Float[Array, "*a"]:
    """Returns log(log(1 + exp(x))), which far below 0 is x - exp(x) / 2."""
    low = array < -10
    step = jax.nn.softplus(jnp.where(low, 0, array))
    below = jnp.where(low, array, 0)
    return jnp.where(low, below - jnp.exp(below) / 2, jnp.log(step))
