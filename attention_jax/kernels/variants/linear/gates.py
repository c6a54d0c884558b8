"""What the recurrences with gates have in common: their claims, unit vectors, and the gate of Mamba-2."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from attention_jax.kernels.errors import Refused
from attention_jax.kernels.mechanism import Inputs, Params, to_statistics
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

EPSILON = 1e-6


def scaled(
    query: Float[Array, "B T N H"], key: Float[Array, "B S K J"], params: Params
) -> tuple[Float[Array, "B T N H"], Float[Array, "B S K J"]]:
    """The `prepare` that divides the query by sqrt(H)."""
    return to_statistics(query) * query.shape[-1] ** -0.5, key


def unit_scaled(
    query: Float[Array, "B T N H"], key: Float[Array, "B S K J"], params: Params
) -> tuple[Float[Array, "B T N H"], Float[Array, "B S K J"]]:
    """The `prepare` that divides both by their norms, and the query by sqrt(H) besides.

    The epsilon is inside of the square root, so that a zero vector has a gradient.
    """
    query, key = (to_statistics(array) for array in (query, key))
    query, key = (array * jax.lax.rsqrt(jnp.sum(array**2, -1, keepdims=True) + EPSILON) for array in (query, key))
    return query * query.shape[-1] ** -0.5, key


def write_strength(inputs: Inputs, params: Params) -> Float[Array, "B S K"]:
    """The `strength` of the delta rule: b = sigmoid(beta), in (0, 1)."""
    return jax.nn.sigmoid(inputs["beta"])


def tempered_log_decay(temperature: float, *, owner: str) -> Callable[[Inputs, Params], Array]:
    """Returns the `log_decay` of sigmoid(gate)^(1 / temperature).

    Raises:
      Refused: temperature is not positive.
    """
    if not temperature > 0:
        raise Refused(f"{owner} has temperature={temperature}: it must be positive; the paper's is 16.")
    return lambda inputs, params: jax.nn.log_sigmoid(inputs["gate"]) / temperature


def selective_gate(rng: PRNGKeyArray, heads: int, *channels: int) -> Params:
    """Returns the arrays of Mamba-2's gate, as its authors draw them (Dao & Gu 2024, arXiv 2405.21060).

    Returns:
      `log_rate` [K], the log of a rate uniform in [1, 16], and `step_bias` [K, *channels], for steps that are
      log-uniform in [0.001, 0.1] at an input of 0.
    """
    for_rate, for_step = jax.random.split(rng)
    rate = jax.random.uniform(for_rate, (heads,), jnp.float32, 1, 16)
    step = jnp.exp(jax.random.uniform(for_step, (heads, *channels), jnp.float32, jnp.log(0.001), jnp.log(0.1)))
    return {"log_rate": jnp.log(rate), "step_bias": step + jnp.log(-jnp.expm1(-step))}


def selective_log_decay(inputs: Inputs, params: Params) -> Float[Array, "B S K *channels"]:
    """The `log_decay` of Mamba-2's gate: -exp(log_rate) softplus(gate + step_bias)."""
    gate, log_rate = inputs["gate"], params["log_rate"]
    rate = jnp.exp(log_rate).reshape(-1, *[1] * (gate.ndim - 3))
    return -rate * jax.nn.softplus(gate + params["step_bias"])
