"""Attention in steps, whatever a variant keeps of the tokens so far: keys and values, or a recurrent state."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Params, Sizes
from attention_jax.kernels.attend import attend
from attention_jax.kernels.cache import KeyValueCache, attend_cached, decodes
from attention_jax.kernels.mask import Padding
from attention_jax.kernels.mask_algebra import Mask
from attention_jax.kernels.problem import AttentionOutput
from attention_jax.kernels.registry import lookup_kernel
from attention_jax.kernels.ring import reach_of


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RecurrentSteps:
    """What a variant with a recurrent state keeps of the tokens so far. A pytree, each leaf with the batch first.

    Attributes:
      state: as `attend` returns it.
      length: int32 [B], how many tokens of each sequence there were.
    """

    state: Any
    length: Int[Array, " B"]


DecodeState = KeyValueCache | RecurrentSteps


@dataclass(frozen=True)
class Fresh:
    """Stands for the state before the first token, which the first call of `attend_steps` makes.

    Attributes:
      capacity: the most tokens that a sequence can have.
    """

    capacity: int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Fixed:
    """A part of a decode state that no step changes, the same for all continuations of a sequence. A pytree.

    Where several continuations go on beside each other, the rest of a state has a row for each of them, and this still
    one for each sequence.

    Attributes:
      held: what is of the sequence, such as the keys and values of its source, each leaf with the batch first.
    """

    held: Any


def begun(
    state: KeyValueCache | Fresh,
    key: Float[Array, "B T K J"],
    value: Float[Array, "B T K Hv"],
    *,
    heads: int,
    mask: Mask,
    variant: str,
    position_encoding: str | None = None,
) -> KeyValueCache:
    """Returns a cache of such keys and values: the one that there is, or before the first token an empty one.

    Args:
      state: what the tokens before left.
      key: [B, T, K, J].
      value: [B, T, K, Hv].
      heads: N.
      mask: who sees whom: it says how much of the past is kept.
      variant: a spec.
      position_encoding: as for `attend`.
    """
    if not isinstance(state, Fresh):
        return state
    reach = reach_of(mask, variant=variant, position_encoding=position_encoding)
    sizes = Sizes(heads, key.shape[2], key.shape[3], key.shape[3], value.shape[3])
    batch, capacity = key.shape[0], state.capacity
    return KeyValueCache.empty(sizes, batch=batch, capacity=capacity, dtype=key.dtype, reach=reach)


def attend_steps(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B T K J"],
    value: Float[Array, "B T K Hv"],
    state: DecodeState | Fresh,
    *,
    lengths: Int[Array, " B"],
    mask: Mask,
    variant: str = "scaled_dot",
    params: Params | None = None,
    per_token: dict[str, Array] | None = None,
    position_encoding: str | None = None,
    engine: str | None = None,
) -> tuple[AttentionOutput, DecodeState]:
    """Attends from T new tokens to these and all before them, and returns what is kept for the tokens to come.

    The result equals the same rows of one pass over the whole sequence, however the sequence is split.

    Args:
      query: [B, T, N, H], of the new tokens.
      key: [B, T, K, J].
      value: [B, T, K, Hv].
      state: what the tokens before left.
      lengths: int [B], how many of the T tokens, from the first, each sequence has. The others are not kept, and their
        rows are 0.
      mask: by position, and causal.
      variant: a spec.
      params: the variant's own arrays.
      per_token: what the variant takes of each new token beside these three.
      position_encoding: as for `attend`.
      engine: an engine by name, or None for the fastest that qualifies.

    Raises:
      Refused: the variant has no steps, shapes do not fit, or a sequence is longer than its cache.
    """
    kind, (batch, tokens, heads, _) = decodes(lookup_kernel(variant)), query.shape
    shared: dict[str, Any] = {"variant": variant, "params": params, "position_encoding": position_encoding}
    if kind == "cache":
        assert not isinstance(state, RecurrentSteps)
        cache = begun(state, key, value, heads=heads, mask=mask, variant=variant, position_encoding=position_encoding)
        return attend_cached(query, key, value, cache, mask=mask, new_lengths=lengths, engine=engine, **shared)
    if kind != "state":
        raise Refused(f"{variant} has no steps of tokens that see each other. Use variant scaled_dot.")
    assert not isinstance(state, KeyValueCache)
    before = jnp.zeros((batch,), jnp.int32) if isinstance(state, Fresh) else state.length
    result = attend(
        query,
        key,
        value,
        state=None if isinstance(state, Fresh) else state.state,
        mask=mask & Padding(lengths),
        per_token=per_token,
        # A recurrence takes tokens in their order and no positions.
        positions=None if position_encoding is None else before[:, None] + jnp.arange(tokens, dtype=jnp.int32),
        engine=engine,
        outputs=("out", "state"),
        **shared,
    )
    return result, RecurrentSteps(result.state, before + jnp.asarray(lengths, jnp.int32))
