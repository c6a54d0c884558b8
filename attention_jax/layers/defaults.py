"""What Flax leaves to its own defaults and published models do differently, set in one place.

Flax's LayerNorm has epsilon 1e-6 where PyTorch has 1e-5 and BERT 1e-12; its gelu is the tanh form where most published
models use erf; its dense layers draw from a truncated LeCun normal where transformers draw from N(0, 0.02).
"""

import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from attention_jax.base.errors import Refused, did_you_mean

Initializer = nn.initializers.Initializer

INIT_STDDEV = 0.02
NORM_EPSILON = 1e-5


@jax.custom_jvp
def gelu_tanh(x: Array) -> Array:
    """Returns 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), Hendrycks & Gimpel 2016, section 2.

    Its derivative is written out, so that the backward pass keeps one array and not each step of the formula.
    """
    return 0.5 * x * (1 + jnp.tanh(_gelu_argument(x)))


def _gelu_argument(x: Array) -> Array:
    return jnp.sqrt(2 / jnp.pi).astype(x.dtype) * (x + 0.044715 * x**3)


@gelu_tanh.defjvp
def _gelu_tanh_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    tanh = jnp.tanh(_gelu_argument(x))
    slope = jnp.sqrt(2 / jnp.pi).astype(x.dtype) * (1 + 3 * 0.044715 * x**2)
    return 0.5 * x * (1 + tanh), (0.5 * (1 + tanh) + 0.5 * x * (1 - tanh**2) * slope) * dx


@jax.custom_jvp
def gelu(x: Array) -> Array:
    """Returns x Phi(x) = x (1 + erf(x / sqrt(2))) / 2, as PyTorch and the published checkpoints mean "gelu".

    Its derivative, Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi), is written out as that of `gelu_tanh` is.
    """
    return x * _normal_distribution(x)


@gelu.defjvp
def _gelu_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    below = _normal_distribution(x)
    density = jnp.exp(-0.5 * x**2) * (1 / math.sqrt(2 * math.pi))
    return x * below, (below + x * density) * dx


def _normal_distribution(x: Array) -> Array:
    """Phi(x), with an absolute error that is rounding's; erfc, exact far below 0 too, takes XLA twice as long."""
    if jnp.finfo(x.dtype).bits < 32:
        return 0.5 * jax.lax.erfc(-x * math.sqrt(0.5))
    return 0.5 + 0.5 * jax.lax.erf(x * math.sqrt(0.5))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}
# Of the gates that recipes name.
GATES: dict[str, Callable[[Array], Array]] = {
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "linear": lambda x: x,
}


def activation(name: str) -> Callable[[Array], Array]:
    """Returns an activation by name.

    Raises:
      Refused: there is none of that name.
    """
    if name not in ACTIVATIONS:
        raise Refused(f"there is no activation {name!r}.{did_you_mean(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]


NORMS: dict[str, Callable[..., nn.Module]] = {
    "layer": nn.LayerNorm,
    "layer_no_bias": partial(nn.LayerNorm, use_bias=False),
    "rms": nn.RMSNorm,
}


def norm(kind: str = "layer", *, dtype: jnp.dtype, epsilon: float = NORM_EPSILON, name: str | None = None) -> nn.Module:
    """Returns a norm of `NORMS` with our epsilon; its statistics are float32."""
    return NORMS[kind](epsilon=epsilon, dtype=dtype, name=name)


def head_norm(kind: str, *, dtype: jnp.dtype, epsilon: float, name: str) -> nn.Module:
    """Returns the norm of each head of [..., N, H] that a recipe names.

    "rms" has one scale [H] for all heads; "group" is a GroupNorm of N groups, with a scale and a bias of each, [N, H].
    """
    if kind == "rms":
        return norm("rms", name=name, epsilon=epsilon, dtype=dtype)
    # A head is narrow, and its variance often small beside its mean: a difference of squares would lose it.
    group_norm = partial(nn.LayerNorm, reduction_axes=-1, feature_axes=(-2, -1), use_fast_variance=False)
    return group_norm(epsilon=epsilon, dtype=dtype, name=name)


def normal(stddev: float = INIT_STDDEV) -> Initializer:
    """Returns N(0, stddev^2)."""
    return nn.initializers.normal(stddev)


def compute_dtype(name: str) -> jnp.dtype:
    """Returns the dtype of a config's `dtype` key.

    Raises:
      Refused: it is not one that models compute in, or JAX would take float32 in its place.
    """
    known = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16, "float64": jnp.float64}
    if name not in known:
        raise Refused(f"there is no compute dtype {name!r}.{did_you_mean(str(name), known)}")
    if jax.dtypes.canonicalize_dtype(known[name]) != known[name]:
        raise Refused(f"dtype {name} would be computed in float32: set JAX_ENABLE_X64=1 in the environment first.")
    return jnp.dtype(known[name])
