"""Decoding with a cache: new tokens are appended to the keys and values so far, and attend to all of them.

Slot s of the cache holds the token at position s, so one token at a time, chunks of a prompt, and one pass over the
whole sequence give the same.
"""

import functools
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from operator import and_
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Params, Sizes
from attention_jax.kernels.attend import attend
from attention_jax.kernels.integers import whole_numbers
from attention_jax.kernels.mask import PrefixLM
from attention_jax.kernels.mask_algebra import And, Mask, Or, as_mask, describe
from attention_jax.kernels.problem import AttentionOutput
from attention_jax.kernels.registry import Variant, lookup_kernel
from attention_jax.kernels.score_functions import ScoreMod


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KeyValueCache:
    """The keys and values of the tokens so far, in memory that does not grow. A pytree.

    Attributes:
      key: [B, L, K, J]; a slot that is not written yet may hold anything, NaN too.
      value: [B, L, K, Hv].
      length: int32 [B], how many slots, from the first, each sequence has written.
    """

    key: Float[Array, "B L K J"]
    value: Float[Array, "B L K V"]
    length: Int[Array, " B"]

    @staticmethod
    def empty(sizes: Sizes, *, batch: int, capacity: int, dtype: Any = jnp.float32) -> "KeyValueCache":
        """Returns a cache without tokens.

        Args:
          sizes: the sizes of the heads, as for `init`.
          batch: B, sequences.
          capacity: L, the most tokens that a sequence can have.
          dtype: of the keys and values.

        Raises:
          Refused: batch or capacity is smaller than 1.
        """
        for name, size in (("batch", batch), ("capacity", capacity)):
            if size < 1:
                raise Refused(f"the cache has {name}={size}: it needs at least 1.")
        shape = (batch, capacity, sizes.kv_heads)
        return KeyValueCache(
            key=jnp.zeros((*shape, sizes.key), dtype),
            value=jnp.zeros((*shape, sizes.value), dtype),
            length=jnp.zeros((batch,), jnp.int32),
        )


def attend_cached(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B T K J"],
    value: Float[Array, "B T K Hv"],
    cache: KeyValueCache,
    *,
    mask: Mask,
    new_lengths: Int[Array, " B"] | np.ndarray | None = None,
    variant: str = "scaled_dot",
    params: Params | None = None,
    position_encoding: str | None = None,
    bias: Float[Array, "..."] | None = None,
    score_mod: ScoreMod | None = None,
    rng: PRNGKeyArray | None = None,
    dropout_rate: float = 0.0,
    engine: str | None = None,
    outputs: Iterable[str] = ("out",),
    stands_for: Callable[[Array, Array], tuple[Array, Array]] | None = None,
) -> tuple[AttentionOutput, KeyValueCache]:
    """Appends T tokens to the cache and attends from them to all that it then holds.

    The result equals the same rows of one pass over the whole sequence, however the sequence is split. Safe under jit,
    vmap and scan; under jit, donate the cache, and it is written in place.

    A cache never overwrites what it holds. Tokens that do not fit are refused where the lengths are known; where they
    are traced, under jit, the sequences that would overflow give NaN and keep the tokens and the length that they had.

    Args:
      query: [B, T, N, H], of the new tokens.
      key: [B, T, K, J], in the dtype of the cache.
      value: [B, T, K, Hv], in the dtype of the cache.
      cache: what the tokens before left.
      mask: as for `attend`, by position in the sequence or by slot, and causal. PrefixLM is taken too, once the call
        writes all of the prefix: until then its queries lack keys that they should see, and that is treated as an
        overflow is.
      new_lengths: int [B], how many of the T tokens, from the first, each sequence has; None is T for all. The others
        are not written, and their rows are 0, with lse -inf.
      variant: a spec, of a variant that has no recurrent state; such a one continues by `attend(state=...)`.
      params: the variant's own arrays.
      position_encoding: as for `attend`, by the positions in the sequence.
      bias: added to the scaled logits, broadcastable to [B, N, T, L], by slot.
      score_mod: as for `attend`; its positions are those in the sequence.
      rng: a key for dropout.
      dropout_rate: as for `attend`; the choice is by position, so the same as in one pass with this key.
      engine: an engine by name, or None for the fastest that qualifies.
      outputs: which of "out", "weights" [B, N, T, L] and "lse" to return.
      stands_for: (the keys, the values of the cache) -> those that are attended to, for a cache that holds what they
        are made of; what becomes of a slot depends on that slot alone. None: they are these.

    Returns:
      The result for the new tokens, and the cache with them in it.

    Raises:
      Refused: shapes do not fit, a sequence overflows, or the variant or the mask cannot be computed step by step.
    """
    check_cached(variant)
    _check_tokens(query, key, value, cache)
    mask, capacity = as_mask(mask), cache.key.shape[1]
    mask.check(batch=query.shape[0], heads=query.shape[2], queries=query.shape[1], keys=capacity)
    new = _checked_new_lengths(new_lengths, query.shape[1], cache)
    fits = _fitting(mask, new, query.shape[1], cache)
    steps = jnp.arange(query.shape[1], dtype=jnp.int32)[None]
    positions = (cache.length[:, None] + steps, jnp.arange(capacity)[None])
    real = (steps < new[:, None]) & fits[:, None]
    cache = _appended(cache, key, value, real)
    keys, values = (cache.key, cache.value) if stands_for is None else stands_for(cache.key, cache.value)
    # The slots that are not written yet stand at positions to come, which the mask hides.
    result = attend(
        query, keys, values, variant=variant, params=params, mask=mask, bias=bias, score_mod=score_mod,
        positions=positions, position_encoding=position_encoding, rng=rng, dropout_rate=dropout_rate,
        engine=engine, outputs=outputs,
    )  # fmt: skip
    if new_lengths is not None:
        result = _nothing_unless(real, result)
    return _nan_unless(fits, result), cache


def check_cached(variant: str) -> None:
    """Checks that a variant is decoded with a cache of keys and values.

    Raises:
      Refused: it has a recurrent state instead, or no steps.
    """
    resolved = lookup_kernel(variant)
    if resolved.claims.state:
        raise Refused(
            f"{resolved.spec} continues from a state and needs no cache: call attend(state=..., outputs=('out', "
            "'state'))."
        )
    reason = _unfit(resolved)
    if reason:
        raise Refused(f"{resolved.spec} {reason}. Use variant scaled_dot.")


def decodes(variant: Variant) -> Literal["state", "steps", "cache"] | None:
    """Returns how a variant goes on token by token: from a state, an alignment's steps or a cache; None for not."""
    if variant.claims.state:
        return "state"
    if variant.claims.steps:
        return "steps"
    return None if _unfit(variant) else "cache"


def _unfit(variant: Variant) -> str | None:
    """Why a variant is not decoded with a cache of keys and values."""
    claims, per_token = variant.claims, sorted(variant.mechanism.per_token)
    reasons = {
        "is not strictly causal, so it has no steps to cache for": claims.causal != "strict",
        "takes as many keys as queries, so it has no steps to cache for": not claims.cross,
        "makes a query's weights of those of the queries before, so it has no steps to cache for": (
            not claims.rows_apart
        ),
        f"takes per_token {per_token}, which the cache does not hold": bool(per_token),
    }
    return next((why for why, holds in reasons.items() if holds), None)


def _check_tokens(query: Array, key: Array, value: Array, cache: KeyValueCache) -> None:
    for name, array, held in (("key", key, cache.key), ("value", value, cache.value)):
        if array.ndim != 4 or array.shape[:1] + array.shape[2:] != held.shape[:1] + held.shape[2:]:
            batch, _, heads, width = held.shape
            raise Refused(
                f"{name} has shape {array.shape}, but the cache holds [{batch}, tokens, {heads}, {width}]: create it "
                "for these sizes."
            )
        if array.dtype != held.dtype:
            raise Refused(f"{name} is {array.dtype}, but the cache holds {held.dtype}: cast one to the other.")
        if query.ndim != 4 or query.shape[:2] != array.shape[:2]:
            raise Refused(f"query {query.shape} and {name} {array.shape} are not of the same sequences and tokens.")


def _checked_new_lengths(new_lengths: Any, tokens: int, cache: KeyValueCache) -> Int[Array, " B"]:
    capacity = cache.key.shape[1]
    if new_lengths is None and tokens > capacity:
        raise Refused(f"{tokens} tokens do not fit a cache with capacity={capacity}: create a larger one.")
    if new_lengths is None:
        return jnp.full_like(cache.length, tokens)
    new = whole_numbers(new_lengths, owner="new_lengths")
    if new.shape != cache.length.shape:
        raise Refused(f"new_lengths have shape {new.shape}: give int [{cache.length.shape[0]}].")
    if not isinstance(new, jax.core.Tracer) and ((new < 0) | (new > tokens)).any():
        raise Refused(f"new_lengths={new.tolist()} are of {tokens} tokens each: give 0 to {tokens}.")
    return new.astype(cache.length.dtype)


def _fitting(mask: Mask, new: Int[Array, " B"], tokens: int, cache: KeyValueCache) -> Bool[Array, " B"]:
    """Returns which sequences have room for their new tokens, and then all that the mask shows."""
    prefixes, length, capacity = _prefixes(mask), cache.length + new, cache.key.shape[1]
    if prefixes is None:
        raise Refused(
            f"{describe(mask)} shows a query tokens after it, which the cache does not hold yet: give Causal() & the "
            "mask, or PrefixLM."
        )
    room = (new >= 0) & (new <= tokens) & (length <= capacity)
    whole = functools.reduce(and_, [(new == 0) | (length >= prefix) for prefix in prefixes], room)
    if isinstance(whole, jax.core.Tracer) or whole.all():
        return whole
    if not room.all():
        raise Refused(
            f"{new.tolist()} tokens after {cache.length.tolist()} do not fit a cache with capacity={capacity}: create "
            "a larger one."
        )
    raise Refused(
        f"{describe(mask)} shows a prefix of which the cache holds only {length.tolist()} tokens with these: give the "
        "whole prefix in one call."
    )


def _prefixes(mask: Mask) -> list[Array] | None:
    """Returns how far a mask lets a query see past itself: the prefixes up to which it may, or None for no bound."""
    if mask.causal:
        return []
    if isinstance(mask, PrefixLM):
        return [mask.prefixes]
    if not isinstance(mask, (And, Or)):
        return None
    of_terms = [_prefixes(term) for term in mask.terms]
    bounded = [prefixes for prefixes in of_terms if prefixes is not None]
    if isinstance(mask, And):
        return bounded[0] if bounded else None
    return list(itertools.chain(*bounded)) if len(bounded) == len(of_terms) else None


def _appended(cache: KeyValueCache, key: Array, value: Array, real: Bool[Array, "B T"]) -> KeyValueCache:
    capacity, steps = cache.key.shape[1], jnp.arange(key.shape[1], dtype=jnp.int32)[None]
    # Slots past the end are dropped. No two may be equal, not even those.
    slots = jnp.where(real, cache.length[:, None] + steps, capacity + steps)
    rows = jnp.arange(key.shape[0])[:, None]
    held = (cache.key.at[rows, slots], cache.value.at[rows, slots])
    key, value = (at.set(new, mode="drop", unique_indices=True) for at, new in zip(held, (key, value), strict=True))
    return KeyValueCache(key=key, value=value, length=cache.length + real.sum(1, dtype=cache.length.dtype))


def _nothing_unless(real: Bool[Array, "B T"], result: AttentionOutput) -> AttentionOutput:
    """What queries that see no key have, for those that are not real: no mask is needed that a variant may not take."""
    out, weights, lse = result.out, result.weights, result.lse
    return replace(
        result,
        out=jnp.where(real[:, :, None, None], out, 0),
        weights=None if weights is None else jnp.where(real[:, None, :, None], weights, 0),
        lse=None if lse is None else jnp.where(real[:, None], lse, -jnp.inf),
    )


def _nan_unless(fits: Bool[Array, " B"], result: AttentionOutput) -> AttentionOutput:
    def marked(array: Array) -> Array:
        return jnp.where(fits.reshape(-1, *[1] * (array.ndim - 1)), array, jnp.nan)

    return replace(jax.tree.map(marked, replace(result, aux=None)), aux=result.aux)
