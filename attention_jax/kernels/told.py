"""What mechanisms that form no weights have to show: how large a state is, what gates let through, what is chosen.

For people who look at a trained model. Nothing here is fast: a state is asked for after each token.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Params
from attention_jax.kernels.engines.chunk import RecurrentState
from attention_jax.kernels.mask import Causal
from attention_jax.kernels.mechanism import Given, LinearRecurrence, to_statistics
from attention_jax.kernels.problem import AttentionOutput
from attention_jax.kernels.registry import lookup_kernel
from attention_jax.kernels.steps import Fresh, RecurrentSteps, attend_steps


def state_norms(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B T K J"],
    value: Float[Array, "B T K Hv"],
    *,
    per_token: dict[str, Array] | None = None,
    **arguments: Any,
) -> Float[Array, "B K T"]:
    """Returns the Frobenius norm of a recurrent state after each token, under a causal mask, in float32.

    Of a feature map it is that of sum_j phi(k_j) v_j^T, its normaliser left out.

    Args:
      query: [B, T, N, H].
      key: [B, T, K, J].
      value: [B, T, K, Hv].
      per_token: as for `attend`.
      **arguments: the others of `attend_steps`: variant, params, position_encoding, engine.

    Raises:
      Refused: the variant has no recurrent state.
    """
    (batch, tokens), variant = query.shape[:2], arguments.get("variant", "scaled_dot")
    if not lookup_kernel(variant).claims.state:
        raise Refused(f"{variant} has no recurrent state whose norm could be told: use a variant such as linear.")

    def step(state: Any, token: Any, *, count: int) -> RecurrentSteps:
        (query, key, value), per_token = jax.tree.map(lambda array: array[:, None], token)
        lengths, per_token = jnp.full(batch, count), per_token or None
        _, after = attend_steps(
            query, key, value, state, lengths=lengths, mask=Causal(), per_token=per_token, **arguments
        )
        assert isinstance(after, RecurrentSteps)
        return after

    def advance(state: RecurrentSteps, token: Any) -> tuple[RecurrentSteps, Array]:
        after = step(state, token, count=1)
        return after, _norm(after.state)

    by_token = jax.tree.map(lambda array: array.swapaxes(0, 1), ((query, key, value), per_token or {}))
    empty = step(Fresh(tokens), jax.tree.map(lambda array: array[0], by_token), count=0)
    return jnp.moveaxis(jax.lax.scan(advance, empty, by_token)[1], 0, -1)


def _norm(state: RecurrentState) -> Float[Array, "B K"]:
    if state.log_scale is None:
        return jnp.linalg.norm(state.total, axis=(-2, -1))
    return jnp.linalg.norm(state.total[..., :-1], axis=(-2, -1)) * jnp.exp(state.log_scale)


def gates(
    key: Float[Array, "B T K J"], *, variant: str, params: Params, per_token: dict[str, Array] | None = None
) -> dict[str, Float[Array, "B n T"]]:
    """Returns what a variant's gates are for each token and head, the mean over channels where they are by channel.

    Args:
      key: [B, T, K, J].
      variant: a spec.
      params: the variant's own arrays.
      per_token: as for `attend`.

    Returns:
      Of a linear recurrence "decay", the share of the state that is kept, and "strength", that by which a token is
      written, where it has them. Of others "given_NAME", what they take of each token, as it comes.
    """
    mechanism, given = lookup_kernel(variant).mechanism, Given(params, per_token or {})
    if not isinstance(mechanism, LinearRecurrence):
        return {f"given_{name}": _by_head(array, array.shape[:3]) for name, array in given.per_token.items()}
    shape, found = key.shape[:3], {}
    if mechanism.log_decay is not None:
        found["decay"] = _by_head(jnp.exp(to_statistics(mechanism.log_decay(key, given))), shape)
    if mechanism.strength is not None:
        found["strength"] = _by_head(to_statistics(mechanism.strength(given)), shape)
    return found


def _by_head(array: Array, shape: tuple[int, ...]) -> Float[Array, "B n T"]:
    of_heads = array.reshape(*array.shape[:3], -1).mean(-1)
    return jnp.broadcast_to(of_heads, shape).swapaxes(1, 2)


def shares(
    attended: Callable[[Float[Array, "B S K S"]], AttentionOutput], key: Float[Array, "B S K J"]
) -> Float[Array, "B N T S"]:
    """Returns how much of each value is in each output, of attention that is linear in its values.

    The value of key j is the unit vector j, so that what comes out are the weights that are never formed: those of
    blocks that were chosen by content, of clusters, of landmarks.

    Args:
      attended: values -> what `attend` returns.
      key: [B, S, K, J], what else the values are of.
    """
    batch, keys, heads, _ = key.shape
    units = jnp.broadcast_to(jnp.eye(keys, dtype=key.dtype)[:, None], (batch, keys, heads, keys))
    return attended(units).out.swapaxes(1, 2)


def linear_in_values(variant: str) -> bool:
    """Returns whether `shares` can be asked of a variant: none of its arrays is of the channels of a value."""
    mechanism = lookup_kernel(variant).mechanism
    return not mechanism.per_token and not any("Hv" in one.axes for one in mechanism.arrays.values())
