"""Decoding with a cache: new tokens are appended to the keys and values so far, and attend to all of them.

One token at a time, chunks of a prompt, and one pass over the whole sequence give the same. Slot s of the cache holds
the token at position s; of a cache with a reach, such as a window, the last tokens take the slots in turn.
"""

import functools
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from operator import and_
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Params, Sizes
from attention_jax.kernels.attend import attend
from attention_jax.kernels.integers import whole_numbers
from attention_jax.kernels.mask import Padding, PrefixLM
from attention_jax.kernels.mask_algebra import And, Mask, Or, Reach, as_mask, describe, terms
from attention_jax.kernels.problem import AttentionOutput
from attention_jax.kernels.registry import Variant, lookup_kernel
from attention_jax.kernels.ring import Ring, reach_of
from attention_jax.kernels.score_functions import ScoreMod


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KeyValueCache:
    """The keys and values of the tokens so far, in memory that does not grow. A pytree.

    It is held by head, as products with queries read it: another order would be copied at each step.

    Attributes:
      key: [B, K, L, J]; a slot that is not written yet may hold anything, NaN too.
      value: [B, K, L, Hv].
      length: int32 [B], how many tokens each sequence has written.
      ring: where tokens lie in a cache that keeps some of them alone; None: the token at position s lies in slot s.
    """

    key: Float[Array, "B K L J"]
    value: Float[Array, "B K L V"]
    length: Int[Array, " B"]
    ring: Ring | None = field(default=None, metadata={"static": True})

    @property
    def capacity(self) -> int:
        """The most tokens that a sequence can have."""
        return self.key.shape[2] if self.ring is None else self.ring.capacity

    @staticmethod
    def empty(
        sizes: Sizes, *, batch: int, capacity: int, dtype: Any = jnp.float32, reach: Reach | None = None
    ) -> "KeyValueCache":
        """Returns a cache without tokens.

        Args:
          sizes: the sizes of the heads, as for `init`.
          batch: B, sequences.
          capacity: the most tokens that a sequence can have.
          dtype: of the keys and values.
          reach: how far back the mask lets a query look, `mask.reach`, with that of the variant: no more tokens are
            kept than these, where they are fewer than the capacity. None for all.

        Raises:
          Refused: batch or capacity is smaller than 1.
        """
        for name, size in (("batch", batch), ("capacity", capacity)):
            if size < 1:
                raise Refused(f"the cache has {name}={size}: it needs at least 1.")
        ring = None if reach is None or sum(reach) >= capacity else Ring(*reach, capacity=capacity)
        shape = (batch, sizes.kv_heads, capacity if ring is None else ring.slots)
        return KeyValueCache(
            key=jnp.zeros((*shape, sizes.key), dtype),
            value=jnp.zeros((*shape, sizes.value), dtype),
            length=jnp.zeros((batch,), jnp.int32),
            ring=ring,
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

    A cache never overwrites what may still be looked at. Tokens beyond its capacity are refused where the lengths are
    known; where they are traced, under jit, the sequences that would overflow give NaN and keep the tokens and the
    length that they had.

    Args:
      query: [B, T, N, H], of the new tokens.
      key: [B, T, K, J], in the dtype of the cache.
      value: [B, T, K, Hv], in the dtype of the cache.
      cache: what the tokens before left.
      mask: as for `attend`, with a token's position for its index, and causal. A cache with a reach takes masks by
        position and Padding, none of which may show more than it keeps. PrefixLM is taken too, once the call
        writes all of the prefix: until then its queries lack keys that they should see, and that is treated as an
        overflow is.
      new_lengths: int [B], how many of the T tokens, from the first, each sequence has; None is T for all. The others
        are not written, and their rows are 0, with lse -inf.
      variant: a spec, of a variant that has no recurrent state; such a one continues by `attend(state=...)`.
      params: the variant's own arrays.
      position_encoding: as for `attend`, by the positions in the sequence.
      bias: added to the scaled logits, broadcastable to [B, N, T, S], by position, S being the capacity.
      score_mod: as for `attend`; its positions are those in the sequence.
      rng: a key for dropout.
      dropout_rate: as for `attend`; the choice is by position, so the same as in one pass with this key.
      engine: an engine by name, or None for the fastest that qualifies.
      outputs: which of "out", "weights" [B, N, T, S], by position, and "lse" to return.
      stands_for: (the keys, the values of the cache) -> those that are attended to, for a cache that holds what they
        are made of; what becomes of a slot depends on that slot alone. None: they are these.

    Returns:
      The result for the new tokens, and the cache with them in it.

    Raises:
      Refused: shapes do not fit, a sequence overflows, or the variant or the mask cannot be computed step by step.
    """
    check_cached(variant)
    _check_tokens(query, key, value, cache)
    mask = as_mask(mask)
    mask.check(batch=query.shape[0], heads=query.shape[2], queries=query.shape[1], keys=cache.capacity)
    _check_reach(mask, cache, variant=variant, position_encoding=position_encoding)
    new = _checked_new_lengths(new_lengths, query.shape[1], cache)
    fits = _fitting(mask, new, query.shape[1], cache)
    steps = jnp.arange(query.shape[1], dtype=jnp.int32)[None]
    places = cache.length[:, None] + steps
    real = (steps < new[:, None]) & fits[:, None]
    held, cache = _appended(cache, key, value, real)
    if cache.ring is not None:
        mask, bias = mask.placed(held.positions), _bias_of(bias, held.positions)
    keys, values = (held.key, held.value) if stands_for is None else stands_for(held.key, held.value)
    result = attend(
        query, keys, values, variant=variant, params=params, mask=mask, bias=bias, score_mod=score_mod,
        positions=(places, held.positions), position_encoding=position_encoding, rng=rng, dropout_rate=dropout_rate,
        engine=engine, outputs=outputs,
    )  # fmt: skip
    if cache.ring is not None and result.weights is not None:
        result = replace(result, weights=_by_position(result.weights, held.positions, cache.capacity))
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
        batch, heads, _, width = held.shape
        if array.ndim != 4 or array.shape[:1] + array.shape[2:] != (batch, heads, width):
            raise Refused(
                f"{name} has shape {array.shape}, but the cache holds [{batch}, tokens, {heads}, {width}]: create it "
                "for these sizes."
            )
        if array.dtype != held.dtype:
            raise Refused(f"{name} is {array.dtype}, but the cache holds {held.dtype}: cast one to the other.")
        if query.ndim != 4 or query.shape[:2] != array.shape[:2]:
            raise Refused(f"query {query.shape} and {name} {array.shape} are not of the same sequences and tokens.")


def _checked_new_lengths(new_lengths: Any, tokens: int, cache: KeyValueCache) -> Int[Array, " B"]:
    capacity = cache.capacity
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
    prefixes, length, capacity = _prefixes(mask), cache.length + new, cache.capacity
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


class _Held(NamedTuple):
    """What new tokens attend to, and where it stands: what is not written yet at positions to come, and so hidden."""

    key: Float[Array, "B S K J"]
    value: Float[Array, "B S K V"]
    positions: Int[Array, "b S"]


def _appended(cache: KeyValueCache, key: Array, value: Array, real: Bool[Array, "B T"]) -> tuple[_Held, KeyValueCache]:
    """Returns what the new tokens attend to, and the cache with them in it."""
    ring, tokens, slots = cache.ring, key.shape[1], cache.key.shape[2]
    steps = jnp.arange(tokens, dtype=jnp.int32)[None]
    places = cache.length[:, None] + steps
    length = cache.length + real.sum(1, dtype=cache.length.dtype)
    kept, slot = (real, places) if ring is None else (real & ring.keeps(places, length), ring.slot(places))
    # Slots past the end are dropped. No two may be equal, not even those.
    slot = jnp.where(kept, slot, slots + steps)
    rows = jnp.arange(key.shape[0])[:, None]
    written = [
        of.at[rows, :, slot].set(new, mode="drop", unique_indices=True)
        for of, new in ((cache.key, key), (cache.value, value))
    ]
    after = replace(cache, key=written[0], value=written[1], length=length)
    if ring is None:
        return _Held(*_by_token(after), jnp.arange(slots)[None]), after
    if tokens == 1:
        # What it took the slot of is out of its sight, and nothing is copied.
        return _Held(*_by_token(after), ring.positions(length, beyond=tokens)), after
    positions = jnp.concatenate([ring.positions(cache.length, beyond=tokens), places], axis=1)
    key, value = (jnp.concatenate(both, axis=1) for both in zip(_by_token(cache), (key, value), strict=True))
    return _Held(key, value, positions), after


def _by_token(cache: KeyValueCache) -> tuple[Float[Array, "B L K J"], Float[Array, "B L K V"]]:
    """Its keys and values as `attend` takes them."""
    return cache.key.swapaxes(1, 2), cache.value.swapaxes(1, 2)


def _check_reach(mask: Mask, cache: KeyValueCache, *, variant: str, position_encoding: str | None) -> None:
    """Checks that a cache keeps all that a mask may show.

    Raises:
      Refused: it does not.
    """
    ring = cache.ring
    if ring is None:
        return
    # Which keys are real is told by index, and shows no key that the rest hides.
    reach = reach_of(_but_padding(mask), variant=variant, position_encoding=position_encoding)
    if reach is None or reach.first > ring.first or reach.last > ring.last:
        raise Refused(
            f"{variant} with {describe(mask)} may look at keys that this cache has let go: it keeps the first "
            f"{ring.first} and the last {ring.last} tokens. Create it without reach, or with that of the mask."
        )


def _but_padding(mask: Mask) -> Mask:
    rules = [term for term in terms(mask) if not isinstance(term, Padding)]
    return And(tuple(rules))


def _bias_of(bias: Array | None, positions: Int[Array, "B S"]) -> Array | None:
    """Returns a bias by position as one of keys at these positions."""
    if bias is None or not jnp.ndim(bias) or jnp.shape(bias)[-1] == 1:
        return bias
    bias = jnp.asarray(bias)
    bias = bias.reshape((1,) * (4 - bias.ndim) + bias.shape)
    return jnp.take_along_axis(bias, positions[:, None, None], axis=-1, mode="clip")


def _by_position(weights: Float[Array, "B N T S"], positions: Int[Array, "B S"], capacity: int) -> Array:
    """Returns weights of keys at these positions by position, [B, N, T, capacity]."""

    def of_sequence(weights: Array, positions: Array) -> Array:
        return jnp.zeros((*weights.shape[:2], capacity), weights.dtype).at[..., positions].add(weights, mode="drop")

    return jax.vmap(of_sequence)(weights, positions)


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
