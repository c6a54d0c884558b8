"""Where a Neural Turing Machine looks: Graves, Wayne & Danihelka 2014, equations 5 to 9.

By content, softmax(beta cos(k_t, m_j)), mixed with where it looked before by a gate g, shifted by up to `shift` places
either way, round from the last key to the first, and sharpened by a power gamma >= 1. k, beta, g, the shifts and gamma
come from the query by one linear layer. Keys that the query does not see are no places: a shift goes over them. Before
the first query it looks nowhere, so the first goes by content alone.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.alignment import Alignment, Looked
from attention_jax.kernels.arrays import constant, normal
from attention_jax.kernels.mechanism import Given, to_statistics, unit
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.variants.alignment import network
from attention_jax.kernels.variants.alignment.states import CLAIMS, nowhere


def _prepare_query(query: Float[Array, "B T N H"], given: Given) -> Float[Array, "B T N P"]:
    read, weight = given.params["read"].astype(query.dtype), given.params["controls"].astype(query.dtype)
    controls = to_statistics(jnp.einsum("btnh,nhp->btnp", query, weight)) + given.params["bias"][None, None]
    return jnp.concatenate([unit(jnp.einsum("btnh,nhj->btnj", query, read)), controls], -1)


def _prepare_key(key: Float[Array, "B S K J"], given: Given) -> Float[Array, "B S K J"]:
    return unit(key)


def _shifted(
    weights: Float[Array, "B N S"], shares: Float[Array, "B N R"], visible: Bool[Array, "B N S"]
) -> Float[Array, "B N S"]:
    """The circular convolution (equation 8) over the keys that are seen, in their order."""
    # place[r] is the r-th key that is seen, rank[j] which one j is.
    place = jnp.argsort(~visible, axis=-1, stable=True)
    rank, count = jnp.cumsum(visible, -1) - 1, jnp.maximum(visible.sum(-1, keepdims=True), 1)
    reach = shares.shape[-1] // 2
    moved = jnp.zeros_like(weights)
    for number in range(shares.shape[-1]):
        source = jnp.take_along_axis(place, (rank - (number - reach)) % count, -1)
        moved = moved + shares[..., number : number + 1] * jnp.take_along_axis(weights, source, -1)
    return jnp.where(visible, moved, 0)


def _step(
    state: Float[Array, "B N S"],
    query: Float[Array, "B N P"],
    key: Float[Array, "B S K J"],
    visible: Bool[Array, "B N S"],
    given: Given,
) -> Looked:
    width = key.shape[-1]
    strength, gate, power, shares = jnp.split(query[..., width:], (1, 2, 3), -1)
    scores = jnp.einsum("bnj,bnsj->bns", query[..., :width], network.by_query_head(key, query.shape[1]))
    content = masked_softmax(jax.nn.softplus(strength) * scores, visible)
    mixed = jnp.where(visible, state, 0)
    gate = jnp.where(state.sum(-1, keepdims=True) > 0, jax.nn.sigmoid(gate), 1)
    mixed = _shifted(gate * content + (1 - gate) * mixed, jax.nn.softmax(shares), visible)
    some = mixed > 0
    logs = (1 + jax.nn.softplus(power)) * jnp.log(jnp.where(some, mixed, 1))
    weights = masked_softmax(logs, some)
    return Looked(weights, weights)


@register(
    source=Source(
        "Neural Turing Machines",
        "equations 5 to 9",
        authors="Graves, Alex and Wayne, Greg and Danihelka, Ivo",
        year=2014,
        arxiv="1410.5401",
    ),
    claims=CLAIMS(weighted="some"),
    aliases=("neural_turing_machine",),
)
def ntm(*, shift: int = 1) -> Alignment:
    """Where the keys are alike and next to where the query before has looked, sharpened (NTM addressing).

    Args:
      shift: how many places it may move at a step, either way.

    Raises:
      Refused: shift is below 0.
    """
    if shift < 0:
        raise Refused(f"ntm has shift={shift}: give 0 for none, or how many places it may move.")
    controls = 3 + 2 * shift + 1
    return Alignment(
        arrays={
            "read": normal("N", "H", "J"),
            "controls": normal("N", "H", controls),
            "bias": constant(0.0, "N", controls),
        },
        prepare_query=_prepare_query,
        prepare_key=_prepare_key,
        start=nowhere,
        step=_step,
    )
