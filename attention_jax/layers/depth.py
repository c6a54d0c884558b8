"""Two ways for a layer to read those below it other than by a running sum: the first layer's values, and all outputs.

Value residual, Zhou et al. 2024 (Value Residual Learning, arXiv 2410.17897), ResFormer: the values of layer l are
lam_l v_l + (1 - lam_l) v_1, v_1 those of the first layer at the same token. The paper has a weight for each of the two,
lam_{l,1} v_1 + lam_{l,2} v_l, which here add up to 1. lam = 1 is the plain stack.

Attention over depth, Kimi Team 2026 (Attention Residuals, arXiv 2603.15031), in its full form: each half of a block
reads h = sum_i softmax_i(w . rms(r_i)) r_i, where r_0 is the embedding and r_i the output of the i-th half, not the sum
up to it. w is learned, one for each half, and 0 at the start, which is the mean. Its norm of r_i has no scale: a scale
and w would be one vector.
"""

from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from attention_jax.kernels.mechanism import statistics_dtype
from attention_jax.layers.heads import projection
from attention_jax.layers.spread import spread_tokens
from attention_jax.layers.stack_options import OVER_DEPTH, StackOptions


class FirstValues(NamedTuple):
    """The values of the first layer of a stack. A pytree.

    Attributes:
      values: [B, T, K, H], of the tokens at hand.
      made: whether a layer has made them; blocks that are scanned over start from zeros that none has.
    """

    values: Float[Array, "B T K H"]
    made: Bool[Array, ""]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Sources:
    """The embedding and the outputs of all halves so far, each [B, T, D]. A pytree.

    Attributes:
      outputs: one behind the other on the third axis, of several arrays [B, T, s, D]: one for each where blocks are run
        one by one, so that the backward pass keeps each once; a single one where they are scanned over.
      count: how many of the single array are there, from the first; None: all.
    """

    outputs: tuple[Float[Array, "B T s D"], ...]
    count: Int[Array, ""] | None = None

    def __add__(self, out: Float[Array, "B T D"]) -> "Sources":
        """Returns the sources with one more, as a running sum and an output are the next running sum."""
        if self.count is None:
            return Sources((*self.outputs, spread_tokens(out)[:, :, None]))
        (buffer,) = self.outputs
        return Sources((spread_tokens(buffer.at[:, :, self.count].set(out)),), self.count + 1)


class Stream(NamedTuple):
    """The tokens as a block is handed them by the one below it, and hands them on. A pytree.

    Attributes:
      hidden: [B, T, D], the running sum of embedding and outputs; of a stack with attention over depth, what it is of.
      first_values: of a stack with a value residual, where there is a layer below or blocks are scanned over.
    """

    hidden: Float[Array, "B T D"] | Sources
    first_values: FirstValues | None = None


def first_stream(options: StackOptions, embedded: Float[Array, "B T D"]) -> Stream:
    """Returns what the first block of a stack is handed.

    Args:
      options: of the stack.
      embedded: [B, T, D].
    """
    hidden: Array | Sources = embedded
    if options.residual == OVER_DEPTH:
        hidden = Sources((embedded[:, :, None],))
        if options.scan_layers:
            more = options.num_layers * len(options.halves)
            buffer = jnp.pad(embedded[:, :, None], ((0, 0), (0, 0), (0, more), (0, 0)))
            hidden = Sources((buffer,), jnp.int32(1))
    if options.value_residual is None or not options.scan_layers:
        return Stream(hidden)
    sizes = options.sizes
    zeros = jnp.zeros((*embedded.shape[:2], sizes.kv_heads, sizes.value), options.compute_dtype)
    return Stream(hidden, FirstValues(zeros, jnp.asarray(False)))


def first_values(value: Float[Array, "B T K H"], below: FirstValues | None) -> FirstValues:
    """Returns the values of the first layer: those of the layer below, or of this one where there is none.

    Args:
      value: [B, T, K, H], of this layer.
      below: what it was handed.
    """
    if below is None:
        return FirstValues(value, jnp.asarray(True))
    return FirstValues(jnp.where(below.made, below.values, value), jnp.ones_like(below.made))


class ValueResidual(nn.Module):
    """Mixes the values of the first layer into those of a layer: lam v_l + (1 - lam) v_1.

    Its parameter "share" is lam, or a projection to it. That of the first layer is of no effect, as v_l is v_1 there:
    it has one so that all layers are alike.

    Attributes:
      options: of the stack.
    """

    options: StackOptions

    @nn.compact
    def __call__(
        self, value: Float[Array, "B T K H"], first: Float[Array, "B T K H"], inputs: Float[Array, "B T D"]
    ) -> Float[Array, "B T K H"]:
        """Returns [B, T, K, H].

        Args:
          value: [B, T, K, H], of this layer.
          first: [B, T, K, H], of the first layer.
          inputs: [B, T, D], what the values are projected from.
        """
        if self.options.value_residual == "per_token":
            logits = projection(self.options, "share", value.shape[2:3], biased_as="value")(inputs)
            share = jax.nn.sigmoid(logits)[..., None]
        elif self.options.value_residual == "learned":
            share = self.param("share", nn.initializers.constant(0.5), (), jnp.float32).astype(value.dtype)
        else:
            share = jnp.asarray(0.5, value.dtype)
        return share * value + (1 - share) * first


class AttentionOverDepth(nn.Module):
    """Reads the sources of a stack: w, its parameter "query", is 0 at the start.

    Attributes:
      options: of the stack.
    """

    options: StackOptions

    @nn.compact
    def __call__(self, sources: Sources) -> Float[Array, "B T D"]:
        """Returns [B, T, D], what a half reads in place of the running sum."""
        width = sources.outputs[0].shape[-1]
        query = self.param("query", nn.initializers.zeros, (width,), jnp.float32)
        return over_depth(query, sources, epsilon=self.options.norm_epsilon)


def over_depth(query: Float[Array, " D"], sources: Sources, *, epsilon: float) -> Float[Array, "B T D"]:
    """Returns sum_i softmax_i(w . r_i / sqrt(mean(r_i^2) + epsilon)) r_i, by token, [B, T, D].

    Args:
      query: w, [D].
      sources: r.
      epsilon: of the norm.
    """
    dtype = statistics_dtype(sources.outputs[0].dtype)
    query, outputs = query.astype(dtype), [some.astype(dtype) for some in sources.outputs]
    # The product comes before the norm, so that the backward pass keeps a number of each source and no normed copy.
    parts = [(some * query).sum(-1) * jax.lax.rsqrt((some**2).mean(-1) + epsilon) for some in outputs]
    logits = jnp.concatenate(parts, axis=-1)
    if sources.count is not None:
        logits = jnp.where(jnp.arange(logits.shape[-1]) < sources.count, logits, -jnp.inf)
    ends = np.cumsum([some.shape[2] for some in outputs])
    weights = jnp.split(jax.nn.softmax(logits, axis=-1), ends[:-1], axis=-1)
    mixed = sum((weight[..., None] * some).sum(2) for weight, some in zip(weights, outputs, strict=True))
    return jnp.asarray(mixed, sources.outputs[0].dtype)
