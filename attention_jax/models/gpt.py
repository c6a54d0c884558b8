"""A decoder-only language model: Radford et al. 2019 (GPT-2), in the shape that nanoGPT trains.

Pre-norm blocks, learned positions, output tied to the token embedding. Weights are drawn from N(0, init_stddev^2),
those that write to the residual stream from N(0, init_stddev^2 / 2L) (GPT-2, section 2.3).
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.kernels import Causal, Mask, Padding, Segments, Sizes
from attention_jax.kernels.decode_state import decode_bytes
from attention_jax.layers import Backbone, PositionEmbedding, TokenEmbedding, require_causal
from attention_jax.layers.defaults import INIT_STDDEV, compute_dtype, layer_norm, normal
from attention_jax.models.catalogue import register


@register("gpt")
class GPT(Backbone, kw_only=True):
    """Predicts each next token from those before it.

    Attributes:
      vocabulary_size: V, a fact of the data.
      length: the largest number of tokens, a fact of the data.
      init_stddev: of all initial weights; 0.02 suits sizes of about 1000, narrow models want about 1 / sqrt(width).
      approximate_causal: accept a variant whose choice of what to attend to can leak the future.
    """

    vocabulary_size: int
    length: int
    use_bias: bool = False
    init_stddev: float = INIT_STDDEV
    approximate_causal: bool = False

    reads: ClassVar[tuple[str, ...]] = ("inputs",)
    may_read: ClassVar[tuple[str, ...]] = ("segments", "positions", "lengths", "asked")

    @nn.compact
    def __call__(
        self,
        inputs: Int[Array, "B T *several"],
        *,
        segments: Int[Array, "B T"] | None = None,
        positions: Int[Array, "B T"] | None = None,
        lengths: Int[Array, " B"] | None = None,
        asked: Int[Array, "B K"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B T V"]:
        """Returns the logits of the token after each token, float32 [B, T, V], or after each that is asked for.

        Args:
          inputs: [B, T], each smaller than V; or [B, T, S], where S tokens share a place and their vectors add up.
          segments: [B, T], the document of each token where several share a row; a token sees its own alone.
          positions: [B, T], where each token stands in its document, for the learned positions; by default its index.
          lengths: [B], how many tokens of each row, from the first, are real; no token sees the others. None: all are.
          asked: [B, K], at which places the logits are wanted, which then are [B, K, V]; by default at all.
          deterministic: no dropout; otherwise the rng "dropout" is used.

        Raises:
          Refused: the variant is not causal, there are too many tokens, or the blocks refuse.
        """
        require_causal(self.attention, owner="model gpt", approximate=self.approximate_causal)
        dtype = compute_dtype(self.dtype)
        init, out_init = normal(self.init_stddev), normal(self.init_stddev / (2 * self.num_layers) ** 0.5)
        embedding = TokenEmbedding(self.vocabulary_size, self.width, embedding_init=init, dtype=dtype, name="token")
        position_embedding = PositionEmbedding(self.length, embedding_init=init, dtype=dtype, name="position")
        mask: Mask = Causal()
        if segments is not None:
            mask = mask & Segments(segments)
        if lengths is not None:
            mask = mask & Padding(lengths)
        hidden = self.run_blocks(
            position_embedding(embedding(inputs), positions=positions),
            mask=mask,
            deterministic=deterministic,
            kernel_init=init,
            out_init=out_init,
        )
        hidden = layer_norm(name="norm", epsilon=self.norm_epsilon, dtype=dtype)(hidden)
        if asked is not None:
            hidden = jnp.take_along_axis(hidden, asked[..., None], axis=1)
        return embedding.attend(hidden).astype(jnp.float32)

    def decode_bytes(self) -> int | None:
        """Returns what one sequence of `length` tokens holds in all layers while it is decoded, in bytes; None without
        steps.
        """
        head = self.width // self.num_heads
        sizes = Sizes(self.num_heads, self.num_kv_heads or self.num_heads, head, head, head)
        layer = decode_bytes(self.attention, sizes, tokens=self.length, dtype=compute_dtype(self.dtype))
        return None if layer is None else self.num_layers * layer
