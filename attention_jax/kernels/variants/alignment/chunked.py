"""Soft attention over the keys that end where a monotonic head stands: what MoChA and MILk share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.kernels.alignment import Alignment, Looked
from attention_jax.kernels.arrays import Declared, constant
from attention_jax.kernels.mechanism import Given, to_statistics
from attention_jax.kernels.variants.alignment import expected, network


def alignment(*, hidden: int | None, bias: float, hard: bool, window: int | None, owner: str) -> Alignment:
    """Returns the alignment with chunks of `window` keys, or of all keys so far for None.

    Raises:
      Refused: hidden is smaller than 1.
    """
    units = hidden or "H"
    chunk: dict[str, Declared] = network.arrays(hidden, owner=owner, prefix="chunk_")
    chunk |= {"chunk_bias": constant(0.0, "N", units)}

    def weights(stopped: Array, query: Array, key: Array, visible: Array, given: Given) -> Array:
        """[B, N, S] of one query, from where the head may stand."""
        more = to_statistics(given.params["chunk_bias"])[None, :, None]
        energy = network.energies(query, key, given.params["chunk_value"], more=more)
        return over_past(stopped, energy, visible) if window is None else over_window(stopped, energy, visible, window)

    def step(
        where: expected.Where,
        query: Float[Array, "B N A"],
        key: Float[Array, "B S K A"],
        visible: Bool[Array, "B N S"],
        given: Given,
    ) -> Looked:
        (query, of_chunk), (key, key_of_chunk) = jnp.split(query, 2, -1), jnp.split(key, 2, -1)
        stop = expected.stops(expected.energies(query, key, given)[:, :, None], given, hard=hard)[:, :, 0]
        where = expected.moved(where, stop, visible)
        return Looked(weights(where.weights, of_chunk, key_of_chunk, visible, given), where)

    def parallel(query: Array, key: Array, visible: Array, given: Given) -> Array:
        (query, of_chunk), (key, key_of_chunk) = jnp.split(query, 2, -1), jnp.split(key, 2, -1)
        stopped = expected.of_all_queries(query, key, visible, given, hard=hard)
        each = jax.vmap(lambda *row: weights(row[0], row[1], key_of_chunk, row[2], given), (2, 1, 2), 2)
        return each(stopped, of_chunk, visible)

    return Alignment(
        arrays=expected.arrays(hidden, owner=owner, bias=bias) | chunk,
        draws=True,
        prepare_query=_twice(network.prepare_query, "query"),
        prepare_key=_twice(network.prepare_key, "key"),
        start=expected.start,
        step=step,
        parallel=parallel,
    )


def _twice(prepare: Callable[[Array, Given], Array], name: str) -> Callable[[Array, Given], Array]:
    """For the head's energies and for those of its chunk, side by side."""

    def both(array: Array, given: Given) -> Array:
        of_chunk = given._replace(params={name: given.params[f"chunk_{name}"]})
        return jnp.concatenate([prepare(array, given), prepare(array, of_chunk)], -1)

    return both


def over_window(
    stopped: Float[Array, "B N S"], energy: Float[Array, "B N S"], visible: Bool[Array, "B N S"], window: int
) -> Float[Array, "B N S"]:
    """Returns w_j = sum over k of a_k softmax_j over the visible of the keys k - window + 1 ... k (equation 20)."""
    keys = energy.shape[-1]
    window = min(window, keys)
    back = jnp.pad(jnp.where(visible, energy, -jnp.inf), [(0, 0), (0, 0), (window - 1, 0)], constant_values=-jnp.inf)
    # [B, N, S, window]: of each key the window that ends there.
    ends = jnp.stack([back[..., first : first + keys] for first in range(window)], -1)
    highest = jax.lax.stop_gradient(ends.max(-1, keepdims=True))
    exponentials = jnp.exp(ends - jnp.where(highest == -jnp.inf, 0, highest))
    total = exponentials.sum(-1, keepdims=True)
    shares = stopped[..., None] * exponentials / jnp.where(total > 0, total, 1)
    ahead = jnp.pad(shares, [(0, 0), (0, 0), (0, window - 1), (0, 0)])
    return jnp.stack([ahead[..., window - 1 - first :, first][..., :keys] for first in range(window)]).sum(0)


def over_past(
    stopped: Float[Array, "B N S"], energy: Float[Array, "B N S"], visible: Bool[Array, "B N S"]
) -> Float[Array, "B N S"]:
    """Returns w_j = sum over k >= j of a_k exp(u_j) / sum over l <= k of exp(u_l), of visible keys.

    With C the log of the sum so far, w_j = exp(u_j - C_j) G_j and G_j = a_j + exp(C_j - C_j+1) G_j+1: no factor is
    above 1, and nothing is divided.
    """
    floor = jnp.finfo(energy.dtype).min / 4
    logs = jax.lax.associative_scan(jnp.logaddexp, jnp.where(visible, energy, floor), axis=energy.ndim - 1)
    kept = jnp.concatenate([jnp.exp(logs[..., :-1] - logs[..., 1:]), jnp.zeros_like(logs[..., :1])], -1)
    gathered = expected.affine_scan(kept, stopped, reverse=True)
    return jnp.where(visible, jnp.exp(jnp.where(visible, energy - logs, 0)), 0) * gathered
