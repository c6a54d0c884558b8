"""The position-wise feed-forward network: Vaswani et al. 2017, equation 2, with any activation."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.layers.defaults import Initializer, activation, normal
from attention_jax.layers.product import product


class FeedForward(nn.Module):
    """Widens each token, applies the activation, projects back.

    Attributes:
      hidden: the width of the hidden layer.
      activation: its name: gelu (erf), gelu_tanh, relu.
      use_bias: whether both layers have biases.
      kernel_init: draws the first layer.
      out_init: draws the second.
      dtype: what it computes in.
    """

    hidden: int
    activation: str = "gelu"
    use_bias: bool = True
    kernel_init: Initializer = normal()
    out_init: Initializer = normal()
    dtype: jnp.dtype = jnp.dtype(jnp.float32)

    @nn.compact
    def __call__(self, inputs: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Returns [B, T, D] for [B, T, D]."""
        shared: dict[str, Any] = {"use_bias": self.use_bias, "dtype": self.dtype, "dot_general": product}
        hidden = nn.Dense(self.hidden, kernel_init=self.kernel_init, name="hidden", **shared)(inputs)
        out = nn.Dense(inputs.shape[-1], kernel_init=self.out_init, name="out", **shared)
        return out(activation(self.activation)(hidden))
