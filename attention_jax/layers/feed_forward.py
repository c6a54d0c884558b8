"""The position-wise feed-forward network: Vaswani et al. 2017, equation 2, or gated as in Shazeer 2020."""

import flax.linen as nn
from jaxtyping import Array, Float

from attention_jax.layers.defaults import activation
from attention_jax.layers.product import product
from attention_jax.layers.stack_options import StackOptions


class FeedForward(nn.Module):
    """Widens each token, applies the activation, projects back: activation(x W) O, or (activation(x W) * x V) O.

    Attributes:
      options: of the stack.
    """

    options: StackOptions

    @nn.compact
    def __call__(self, inputs: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Returns [B, T, D] for [B, T, D]."""
        options = self.options
        width = options.hidden or 4 * options.width
        hidden = activation(options.activation)(self._dense("hidden", width)(inputs))
        if options.gated:
            hidden = hidden * self._dense("gate", width)(inputs)
        return self._dense("out", inputs.shape[-1])(hidden)

    def _dense(self, name: str, width: int) -> nn.Dense:
        options, last = self.options, name == "out"
        return nn.Dense(
            width,
            use_bias=options.has_bias("feed_forward_out" if last else "hidden"),
            kernel_init=options.out_init if last else options.kernel_init,
            dtype=options.compute_dtype,
            dot_general=product,
            name=name,
        )
