"""What attention and the mixers share: projections, what the tokens of a layer see, and attention with dropout."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.kernels import (
    AttentionOutput,
    Given,
    KeyValueCache,
    Mask,
    SoftmaxScore,
    Window,
    lookup,
    lookup_position,
)
from attention_jax.kernels.cache import attend_cached
from attention_jax.kernels.mask_algebra import conjunction
from attention_jax.kernels.mechanism import Place
from attention_jax.kernels.steps import Fresh, begun
from attention_jax.layers.product import product
from attention_jax.layers.spread import spread_attend
from attention_jax.layers.stack_options import StackOptions


def projection(
    options: StackOptions, name: str, shape: tuple[int, ...], *, biased_as: str | None = None, **changes: Any
) -> nn.DenseGeneral:
    """Returns a linear projection of the last axis to axes of a shape.

    Args:
      options: of the stack.
      name: of its parameters.
      shape: of the axes that it makes.
      biased_as: it has a bias where this projection of `PROJECTIONS` has; None is its own name.
      **changes: other arguments of `DenseGeneral`.
    """
    usual = {"kernel_init": options.kernel_init, "dtype": options.compute_dtype}
    arguments = {**usual, "use_bias": options.has_bias(biased_as or name), **changes}
    return nn.DenseGeneral(shape, dot_general=product, name=name, **arguments)


def out_projection(options: StackOptions, width: int) -> nn.DenseGeneral:
    """Returns the projection "out" of heads [..., N, H] to the residual stream, [..., width]."""
    return projection(options, "out", (width,), axis=(-2, -1), kernel_init=options.out_init)


def mask_of_layer(options: StackOptions, layer: int, mask: Mask | None) -> Mask | None:
    """Returns what the tokens of a layer see: the mask, and the window of the layer where it has one."""
    window = options.of_layer("window", layer)
    return conjunction(mask, None if window is None else Window(window))


def turned(encoding: str, array: Float[Array, "B T N P"], positions: Int[Array, "b T"]) -> Float[Array, "B T N P"]:
    """Returns queries or keys as an encoding that turns both alike, such as "rope", turns them at their positions."""
    encode = lookup_position(encoding).made.encode
    assert encode is not None
    place = Place(jnp.arange(1), jnp.arange(1), query=positions, key=positions)
    return encode(SoftmaxScore()).prepare_query(array, Given({}, place=place))


def positions_of(positions: Int[Array, "B T"] | None, tokens: int) -> Int[Array, "b T"]:
    """Returns where each token stands: 0, 1, 2 ... where it is not said."""
    return jnp.arange(tokens, dtype=jnp.int32)[None] if positions is None else positions


def attend_heads(
    module: nn.Module,
    options: StackOptions,
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K J"],
    value: Float[Array, "B S K V"],
    *,
    deterministic: bool,
    variant: str = "scaled_dot",
    **arguments: Any,
) -> AttentionOutput:
    """Returns what `attend` returns, on the mesh at hand, with the engine and the dropout of a stack.

    Args:
      module: whose rng "dropout" is used.
      options: of the stack.
      query: [B, T, N, H].
      key: [B, S, K, J].
      value: [B, S, K, V].
      deterministic: no dropout, and what is likeliest of a variant that draws.
      variant: its spec.
      **arguments: the others of `attend`.
    """
    rate = 0.0 if deterministic else options.attention_dropout_rate
    draws = not deterministic and lookup(variant).mechanism.draws
    rng = module.make_rng("dropout") if rate or draws else None
    arguments |= {"variant": variant, "dropout_rate": rate, "rng": rng, "engine": options.engine}
    return spread_attend()(query, key, value, **arguments)


def attend_cached_heads(
    options: StackOptions,
    query: Float[Array, "B T N H"],
    key: Float[Array, "B T K J"],
    value: Float[Array, "B T K V"],
    state: KeyValueCache | Fresh,
    *,
    mask: Mask | None,
    lengths: Int[Array, " B"] | None,
    variant: str = "scaled_dot",
    **arguments: Any,
) -> tuple[AttentionOutput, KeyValueCache]:
    """Returns what `attend_cached` returns, from a cache that it makes before the first token.

    Args:
      options: of the stack.
      query: [B, T, N, H], of the new tokens.
      key: [B, T, K, J], what is kept of them.
      value: [B, T, K, V], what else is.
      state: what the tokens before left.
      mask: who sees whom, causal.
      lengths: int [B], how many of the T tokens, from the first, each sequence has.
      variant: its spec.
      **arguments: the others of `attend_cached`.
    """
    assert mask is not None
    cache = begun(state, key, value, heads=query.shape[2], mask=mask, variant=variant)
    arguments |= {"variant": variant, "mask": mask, "new_lengths": lengths, "engine": options.engine}
    return attend_cached(query, key, value, cache, **arguments)
