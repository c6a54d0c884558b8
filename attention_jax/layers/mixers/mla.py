"""Multi-head latent attention: keys and values are made of one small vector of each token. DeepSeek-V2 2024.

c_j = norm(W_DKV x_j) is all that is kept of a token beside one rotary key k^R_j = turn_j(W_KR x_j), the same for all
heads. Head n has the key [W_UK c_j; k^R_j], the value W_UV c_j and the query [q^C_i; turn_i(q^R_i)], and its logits are
divided by sqrt(H + R): section 2.1, equations 9 to 19. In steps, W_UK is absorbed into the query and W_UV into the
output (section 2.1.2): W_UK^T q^C_i meets c_j itself, which then is the one key head and the one value head of all.

The latents are normalised by RMS norms, which section 3.1.2 tells of.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels import KeyValueCache
from attention_jax.kernels.source import Source
from attention_jax.layers.attention import Mixed, Seen
from attention_jax.layers.heads import (
    attend_cached_heads,
    attend_heads,
    mask_of_layer,
    out_projection,
    positions_of,
    projection,
    turned,
)
from attention_jax.layers.mixer import MakeMixer, MixerClaims, register_mixer
from attention_jax.layers.stack_options import StackOptions


class LatentAttention(nn.Module):
    """Attention whose keys and values are made of a latent.

    Attributes:
      options: of the stack.
      layer: the number of the layer, from 1.
      latent: C, the width of c; None is 4 H.
      query_latent: the width of the latent of the queries; None: they are made of the tokens.
      rotary: R, the width of the part that is turned, where there is rope; None is H / 2.
    """

    options: StackOptions
    layer: int = 1
    latent: int | None = None
    query_latent: int | None = None
    rotary: int | None = None

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "B T D"], seen: Seen, *, state: Any = None, deterministic: bool = True
    ) -> Mixed:
        """Returns what each token gathers, [B, T, D]: see `Attention`.

        Raises:
          Refused: a width is given of a rotary part, and the stack has no rope; or the heads do not divide the width.
        """
        options, heads, width = self.options, self.options.num_heads, self.options.heads_width
        positions = positions_of(seen.positions, inputs.shape[1])
        of_query = inputs if self.query_latent is None else self._latent("query_latent", self.query_latent, inputs)
        query = projection(options, "query", (heads, width + self._turned_width))(of_query)
        query = jnp.concatenate([query[..., :width], self._turned(query[..., width:], positions)], axis=-1)
        latent = self._latent("latent", self.latent or 4 * width, inputs)
        shared = latent[:, :, None, :0]
        if self._turned_width:
            made = projection(options, "rotary", (1, self._turned_width), biased_as="key")(inputs)
            shared = self._turned(made, positions)
        mask, out = mask_of_layer(options, self.layer, seen.mask), out_projection(options, inputs.shape[-1])
        if state is not None:
            attended, state = self._absorbed(query, latent, shared, state, mask=mask, lengths=seen.lengths)
            return Mixed(out(attended), state)
        # A bias of a key is nothing to the softmax, one of a value is one of the output.
        key, value = (projection(options, name, (heads, width), use_bias=False)(latent) for name in ("key", "value"))
        key = jnp.concatenate([key, jnp.broadcast_to(shared, (*key.shape[:3], shared.shape[-1]))], axis=-1)
        result = attend_heads(self, options, query, key, value, mask=mask, deterministic=deterministic)
        return Mixed(out(result.out))

    @property
    def _turned_width(self) -> int:
        """R; 0 without rope."""
        options = self.options
        if options.encoding_of(self.layer) is not None:
            return self.rotary or options.heads_width // 2
        if self.rotary is not None:
            raise Refused(
                f"mla:rotary={self.rotary} has nothing that turns it with model.positions={options.positions!r}: set "
                "model.positions=rope, or leave it out."
            )
        return 0

    def _turned(self, array: Float[Array, "B T n R"], positions: Int[Array, "b T"]) -> Float[Array, "B T n R"]:
        encoding = self.options.encoding_of(self.layer)
        return array if encoding is None else turned(encoding, array, positions)

    def _latent(self, name: str, width: int, inputs: Array) -> Float[Array, "B T C"]:
        options = self.options
        made = projection(options, name, (width,), biased_as="query" if name == "query_latent" else "key")(inputs)
        return options.make_norm(f"{name}_norm", kind="rms")(made)

    def _absorbed(
        self, query: Array, latent: Array, shared: Array, state: Any, *, mask: Any, lengths: Any
    ) -> tuple[Float[Array, "B T N H"], KeyValueCache]:
        """The result for new tokens, from a cache whose keys are the rotary keys and whose values are the latents."""
        width = self.options.heads_width
        into_key, into_value = self._kernel("key", query), self._kernel("value", query)
        absorbed = jnp.einsum("btnh,cnh->btnc", query[..., :width], into_key)
        result, state = attend_cached_heads(
            self.options,
            jnp.concatenate([absorbed, query[..., width:]], axis=-1),
            shared,
            latent[:, :, None],
            state,
            mask=mask,
            lengths=lengths,
            variant=f"scaled_dot:scale={query.shape[-1] ** -0.5}",
            stands_for=lambda rotary, latents: (jnp.concatenate([latents, rotary], axis=-1), latents),
        )
        return jnp.einsum("btnc,cnh->btnh", result.out, into_value), state

    def _kernel(self, name: str, like: Array) -> Float[Array, "C N H"]:
        """The matrices of a projection of the latent, in the dtype of an array."""
        kernel: Array = self.get_variable("params", name)["kernel"]
        return kernel.astype(like.dtype)


@register_mixer(
    source=Source(
        "DeepSeek-V2: A Strong, Economical, and Efficient Mixture-of-Experts Language Model",
        "section 2.1, equations 9 to 19",
        authors="DeepSeek-AI",
        year=2024,
        arxiv="2405.04434",
    ),
    claims=MixerClaims(
        options=("head_width", "attention_dropout_rate", "engine", "window"),
        positions=("rope",),
        tried="mla:latent=6,query_latent=4,rotary=2",
    ),
    aliases=("multi_head_latent_attention",),
)
def mla(*, latent: int | None = None, query_latent: int | None = None, rotary: int | None = None) -> MakeMixer:
    """Multi-head latent attention: keys and values of all heads are made of one latent, which alone is cached.

    Without rope in model.positions there is no part that is turned, as in Kimi Linear.

    Args:
      latent: the width of the latent of keys and values; None is four heads.
      query_latent: the width of the latent of the queries; None: they are made of the tokens, as in DeepSeek-V2-Lite.
      rotary: the width of the part of queries and keys that rope turns; None is half a head.

    Raises:
      Refused: a width is smaller than 1.
    """
    for name, width in (("latent", latent), ("query_latent", query_latent), ("rotary", rotary)):
        if width is not None and width < 1:
            raise Refused(f"mla has {name}={width}: give at least 1.")
    return partial(LatentAttention, latent=latent, query_latent=query_latent, rotary=rotary)
