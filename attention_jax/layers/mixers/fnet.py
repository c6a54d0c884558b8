"""Re(F_tokens F_channels x): Lee-Thorp et al. 2021, FNet, equation 3. No heads, no parameters, no causal form.

The paper's code mixes padding in with the tokens. Here a padded sequence is mixed as its real tokens alone are: by a
transform of as many tokens as are real, which is a product with a matrix for each sequence, in time T^2.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.kernels import Padding
from attention_jax.kernels.mask_algebra import terms
from attention_jax.kernels.mechanism import statistics_dtype
from attention_jax.kernels.source import Source
from attention_jax.layers.attention import Mixed, Seen
from attention_jax.layers.mixer import MakeMixer, MixerClaims, register_mixer
from attention_jax.layers.stack_options import StackOptions


class FourierMixing(nn.Module):
    """The real part of the Fourier transform over tokens and channels.

    Attributes:
      options: of the stack.
      layer: the number of the layer, from 1.
    """

    options: StackOptions
    layer: int = 1

    def __call__(
        self, inputs: Float[Array, "B T D"], seen: Seen, *, state: Any = None, deterministic: bool = True
    ) -> Mixed:
        """Returns what each token gathers, [B, T, D]; 0 for padding: see `Attention`."""
        hidden = inputs.astype(statistics_dtype(inputs.dtype))
        paddings = [term for term in terms(seen.mask) if isinstance(term, Padding)]
        if not paddings:
            return Mixed(jnp.fft.fft2(hidden, axes=(1, 2)).real.astype(inputs.dtype))
        valid = [padding.valid(jnp.arange(inputs.shape[1])) for padding in paddings]
        real = jnp.broadcast_to(jnp.all(jnp.stack(valid), axis=0), inputs.shape[:2])
        return Mixed(_of_real(hidden, real).astype(inputs.dtype))


def _of_real(hidden: Float[Array, "B T D"], real: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
    """The transform of the real tokens of each sequence, each at its place."""
    by_channel = jnp.fft.fft(jnp.where(real[..., None], hidden, 0), axis=-1)
    count = jnp.maximum(real.sum(axis=1), 1)[:, None, None]
    number = jnp.cumsum(real, axis=1) - 1
    # Whole turns are taken off in whole numbers.
    turns = (number[:, :, None] * number[:, None, :]) % count
    angles = (2 * jnp.pi / count).astype(hidden.dtype) * turns.astype(hidden.dtype)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    mixed = jnp.einsum("bts,bsd->btd", cos, by_channel.real) + jnp.einsum("bts,bsd->btd", sin, by_channel.imag)
    return jnp.where(real[..., None], mixed, 0)


@register_mixer(
    source=Source(
        "FNet: Mixing Tokens with Fourier Transforms",
        "equation 3",
        authors="Lee-Thorp, James and Ainslie, Joshua and Eckstein, Ilya and Ontanon, Santiago",
        year=2021,
        venue="NAACL 2022",
        arxiv="2105.03824",
    ),
    claims=MixerClaims(causal="no", decodes=False, masks=("Padding",), time="subquadratic"),
    aliases=("fourier",),
)
def fnet() -> MakeMixer:
    """The real part of the Fourier transform over tokens and channels: no parameters, and no causal form.

    What it returns grows with the root of tokens times channels, as in the paper, whose blocks normalise after it
    (norm_position="post"). Padding is left out exactly, in time T^2 where there is some.
    """
    return partial(FourierMixing)
