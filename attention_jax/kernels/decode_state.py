"""What one sequence holds while it is decoded: its recurrent state, or the keys and values it may still look at."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Sizes
from attention_jax.kernels.attend import attend, init
from attention_jax.kernels.cache import KeyValueCache, check_cached
from attention_jax.kernels.mask import Causal
from attention_jax.kernels.mask_algebra import Mask
from attention_jax.kernels.registry import lookup_kernel
from attention_jax.kernels.ring import reach_of


def decode_bytes(
    variant: str,
    sizes: Sizes,
    *,
    tokens: int,
    dtype: Any = jnp.float32,
    mask: Mask | None = None,
    position_encoding: str | None = None,
) -> int | None:
    """Returns how many bytes one sequence of one layer holds while it is decoded up to `tokens` tokens.

    From shapes alone: nothing is allocated.

    Args:
      variant: a spec.
      sizes: the sizes of the heads.
      tokens: the length of the whole sequence.
      dtype: of keys and values.
      mask: who sees whom; None is Causal().
      position_encoding: as for `attend`.

    Returns:
      None for a variant that has no steps: it is not strictly causal, or its steps need more than keys and values.
    """
    resolved = lookup_kernel(variant)
    if resolved.claims.state:
        return bytes_of(_state(variant, sizes, dtype))
    try:
        check_cached(variant)
    except Refused:
        return None
    reach = reach_of(mask or Causal(), variant=variant, position_encoding=position_encoding)
    empty = partial(KeyValueCache.empty, sizes, batch=1, capacity=tokens, dtype=dtype, reach=reach)
    return bytes_of(jax.eval_shape(empty))


def _state(variant: str, sizes: Sizes, dtype: Any) -> Any:
    """Returns the shapes of the state that a token leaves."""
    keys, per_token = (1, 1, sizes.kv_heads), lookup_kernel(variant).mechanism.per_token

    def after_a_token() -> Any:
        trained, drawn = init(variant, jax.random.key(0), sizes)
        return attend(
            jnp.zeros((1, 1, sizes.heads, sizes.query), dtype),
            jnp.zeros((*keys, sizes.key), dtype),
            jnp.zeros((*keys, sizes.value), dtype),
            variant=variant,
            params={**trained, **drawn},
            per_token={
                name: jnp.zeros(one.shape(sizes, batch=1, queries=1, keys=1), dtype) for name, one in per_token.items()
            },
            mask=Causal(),
            outputs=("out", "state"),
        ).state

    return jax.eval_shape(after_a_token)


def bytes_of(shapes: Any) -> int:
    """Returns how many bytes the arrays of a tree have, or would have."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
