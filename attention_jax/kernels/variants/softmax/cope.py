"""z_ij = q_i . k_j / sqrt(H) + q_i . e[p_ij], p_ij = sum_{j <= l <= i} g_il: Golovneva et al. 2024, equations 3 to 5.

g_il = sigmoid(z_il) counts the tokens that the query looks for, p is how many of them lie between, and e[p] is
interpolated between the whole numbers beside it. The equations have no scale; as in the authors' code it is in the
dot product, and in the gate, and not in q . e. One table serves all heads, as there. Causal only.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Sizes, constant
from attention_jax.kernels.mechanism import Given, Rows, RowScore, to_statistics
from attention_jax.kernels.registry import Claims, Limit, Source, register
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.variants.softmax.toward_query import summed_from_last


def _normalise(rows: Rows, given: Given) -> tuple[Float[Array, "B N t S"], None]:
    assert given.place is not None
    gates = jnp.where(rows.visible, jax.nn.sigmoid(rows.logits), 0)
    counted = summed_from_last(gates, given.place, own=True)
    return masked_softmax(rows.logits + _at(counted, rows, given), rows.visible), None


def _at(counted: Float[Array, "B N t S"], rows: Rows, given: Given) -> Float[Array, "B N t S"]:
    """What the query gives with the table at these places."""
    query = to_statistics(rows.query)
    by_place = jnp.einsum("btnh,hp->bntp", query, given.params["table"].astype(query.dtype))
    last = by_place.shape[-1] - 1
    place = jnp.minimum(counted, last)
    below = jnp.minimum(jnp.floor(jax.lax.stop_gradient(place)).astype(jnp.int32), max(last - 1, 0))
    above = jnp.minimum(below + 1, last)
    share = place - below.astype(place.dtype)
    at_below, at_above = (jnp.take_along_axis(by_place, index, axis=-1) for index in (below, above))
    return (1 - share) * at_below + share * at_above


def _no_table(sizes: Sizes) -> dict[str, Array]:
    return {"table": jnp.zeros((sizes.query, 4))}


@register(
    source=Source(
        "Contextual Position Encoding: Learning to Count What's Important",
        "equations 3 to 5",
        authors="Golovneva, Olga and Wang, Tianlu and Weston, Jason and Sukhbaatar, Sainbayar",
        year=2024,
        arxiv="2405.18719",
    ),
    claims=Claims(
        bidirectional=False,
        lse=False,
        limits=(Limit("cope:positions=4", equals="scaled_dot", tolerance=2e-6, params=_no_table),),
        tried="cope:positions=3",
    ),
)
def cope(*, positions: int = 64) -> RowScore:
    """Softmax with positions that count the tokens a query looks for, and not all.

    Args:
      positions: how many have an entry in the table; all further ones share the last.

    Raises:
      Refused: there are fewer than 2.
    """
    if positions < 2:
        raise Refused(f"cope has positions={positions}: it needs 2 to tell near from far.")
    return RowScore(scale=None, normalise=_normalise, arrays={"table": constant(0.0, "H", positions)})
