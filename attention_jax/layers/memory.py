"""Cross-attention in steps: a memory whose keys and values are prepared once, for one continuation or for several."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.kernels import AttentionOutput, Dense, Mask, lookup
from attention_jax.kernels.mask_algebra import conjunction
from attention_jax.kernels.steps import Fixed, Fresh
from attention_jax.layers.spread import spread_attend


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Memory:
    """The keys and values of a memory, prepared once for all steps, and the state of an alignment to it. A pytree.

    Attributes:
      prepared: its keys [B, S, K, H] and its values [B, S, K, H].
      alignment: what an alignment keeps from step to step; None of other variants.
    """

    prepared: Fixed
    alignment: Any = None


def attend_memory(
    query: Float[Array, "b T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    state: Memory | Fresh,
    *,
    lengths: Int[Array, " b"] | None,
    mask: Mask | None,
    variant: str,
    per_token: dict[str, Array] | None = None,
    **arguments: Any,
) -> tuple[Float[Array, "b T N H"], Memory]:
    """Returns a step of cross-attention, and what goes on to the next: an alignment goes on from where it left off.

    Args:
      query: [b, T, N, H], b a multiple of B: several continuations of a sequence, one after the other, have one memory.
      key: [B, S, K, H], of the memory.
      value: [B, S, K, H].
      state: what the steps before left.
      lengths: int [b], how many of the T queries, from the first, are real.
      mask: which of the memory a query sees.
      variant: a spec.
      per_token: what the variant takes of each query beside these three.
      **arguments: the others of `attend`.

    Raises:
      Refused: the variant or the engine cannot do it.
    """
    claims, prepared = lookup(variant).claims, Fixed((key, value))
    arguments |= {"variant": variant}
    if claims.rows_apart and not claims.steps:
        # Continuations are more queries of one memory, which is read once for all of them.
        joined = jax.tree.map(lambda array: array.reshape(len(key), -1, *array.shape[2:]), (query, per_token))
        out = spread_attend(query.shape[2])(joined[0], key, value, mask=mask, per_token=joined[1], **arguments).out
        return out.reshape(*query.shape[:3], -1), Memory(prepared)

    def attended(of_continuation: tuple[Any, ...]) -> tuple[Array, Any]:
        query, per_token, lengths, alignment = of_continuation
        rules = mask
        if claims.steps and lengths is not None:
            rules = conjunction(mask, of_real(lengths, query, keys=key.shape[1]))
        given = {"state": alignment, "outputs": ("out", "state")} if claims.steps else {}
        result: AttentionOutput = spread_attend(query.shape[2])(
            query, key, value, mask=rules, per_token=per_token, **given, **arguments
        )
        return result.out, result.state

    alignment = state.alignment if isinstance(state, Memory) else None
    out, alignment = by_continuation(attended, (query, per_token, lengths, alignment), len(query) // len(key))
    return out, Memory(prepared, alignment)


def of_real(lengths: Int[Array, " B"], query: Array, *, keys: int) -> Dense:
    """Returns the rule that a query that is not real sees nothing, and so moves nothing."""
    batch, queries, heads, _ = query.shape
    real = jnp.arange(queries) < lengths[:, None]
    return Dense(jnp.broadcast_to(real[:, None, :, None], (batch, heads, queries, keys)))


def by_continuation(attended: Any, arrays: Any, continuations: int) -> Any:
    """Returns what a function of [B, ...] makes of arrays [B * continuations, ...], in their order."""
    if continuations == 1:
        return attended(arrays)
    apart = jax.tree.map(lambda array: array.reshape(-1, continuations, *array.shape[1:]), arrays)
    made = jax.vmap(attended, in_axes=1, out_axes=1)(apart)
    return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:]), made)
