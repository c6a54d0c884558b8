"""A window for every token, and global tokens with projections of their own. Beltagy et al. 2020, section 3.1.

A token sees those at most window / 2 before and after it and all global tokens, by the projections Q_s, K_s and V_s; a
global token sees all, by Q_g, K_g and V_g. The global tokens are the first ones, as [CLS] and a question are in the
paper's tasks.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels import Global, Window
from attention_jax.kernels.mask_algebra import conjunction
from attention_jax.kernels.source import Source
from attention_jax.layers.attention import Mixed, Seen
from attention_jax.layers.heads import attend_heads, out_projection, projection
from attention_jax.layers.mixer import MakeMixer, MixerClaims, register_mixer
from attention_jax.layers.stack_options import StackOptions


class GlobalAndLocal(nn.Module):
    """Attention in a window, and of global tokens to all.

    Attributes:
      options: of the stack.
      layer: the number of the layer, from 1.
      window: how many tokens beside itself a token sees.
      globals: how many tokens, from the first, are global.
    """

    options: StackOptions
    layer: int = 1
    window: int = 512
    globals: int = 1

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "B T D"], seen: Seen, *, state: Any = None, deterministic: bool = True
    ) -> Mixed:
        """Returns what each token gathers, [B, T, D]: see `Attention`.

        Raises:
          Refused: the heads do not divide the width.
        """
        options, tokens = self.options, inputs.shape[1]
        shape = (options.num_heads, options.heads_width)

        def projected(name: str, of: Array, prefix: str = "") -> Float[Array, "B T N H"]:
            return projection(options, f"{prefix}{name}", shape, biased_as=name)(of)

        query, key, value = (projected(name, inputs) for name in ("query", "key", "value"))
        near = conjunction(seen.mask, Window(self.window // 2 + 1) | Global(self.globals))
        local = attend_heads(self, options, query, key, value, mask=near, deterministic=deterministic).out
        query = projected("query", inputs[:, : self.globals], "global_")
        key, value = (projected(name, inputs, "global_") for name in ("key", "value"))
        place = jnp.arange(tokens, dtype=jnp.int32)[None]
        places = (place[:, : self.globals], place)
        of_all = attend_heads(
            self, options, query, key, value, mask=seen.mask, positions=places, deterministic=deterministic
        ).out
        gathered = jnp.concatenate([of_all, local[:, self.globals :]], axis=1)
        return Mixed(out_projection(options, inputs.shape[-1])(gathered))


@register_mixer(
    source=Source(
        "Longformer: The Long-Document Transformer",
        "section 3.1",
        authors="Beltagy, Iz and Peters, Matthew E. and Cohan, Arman",
        year=2020,
        arxiv="2004.05150",
    ),
    claims=MixerClaims(
        decodes=False,
        masks=("Causal", "Padding"),
        options=("head_width", "attention_dropout_rate", "engine"),
        time="linear",
        tried="longformer:window=2,globals=2",
    ),
)
def longformer(*, window: int = 512, globals: int = 1) -> MakeMixer:
    """A window for every token, and global tokens, the first ones, that see all by projections of their own.

    The kernel variant `sliding_window`, with the mask Global, has one set of projections for both.

    Args:
      window: how many tokens beside itself a token sees, half of them before it and half after it.
      globals: how many tokens, from the first, see all and are seen by all.

    Raises:
      Refused: the window is odd or smaller than 2, or there is no global token.
    """
    if window < 2 or window % 2:
        raise Refused(f"longformer has window={window}: give an even number of at least 2, half for each side.")
    if globals < 1:
        raise Refused(f"longformer has globals={globals}: give at least 1, or use attention sliding_window.")
    return partial(GlobalAndLocal, window=window, globals=globals)
