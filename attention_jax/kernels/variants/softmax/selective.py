"""softmax(z_ij - F_ij), F_ij = sum_{k < i} s_kj: Leviathan, Kalman & Matias 2024, section 3.

s_kj = relu of the logits of the first head is how much token k wants token j to be forgotten by all tokens after it, in
every head. It is 0 for the token itself, and for the first token of its document, which is never forgotten. What the
queries so far have said is carried on, so they must lie in the order of their positions. A query that padding hides
says nothing.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.mechanism import Given, Rows, RowScore
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.softmax import masked_softmax


def _start(rows: Rows) -> Float[Array, "B S"]:
    batch, _, _, keys = rows.logits.shape
    return jnp.zeros((batch, keys), rows.logits.dtype)


def _normalise(rows: Rows, given: Given) -> tuple[Float[Array, "B N t S"], Float[Array, "B S"]]:
    said = jnp.concatenate([rows.carry[:, None], _said(rows, given)], axis=1)
    heard = jnp.cumsum(said, axis=1)
    return masked_softmax(rows.logits - heard[:, None, :-1], rows.visible), heard[:, -1]


def _said(rows: Rows, given: Given) -> Float[Array, "B t S"]:
    assert given.place is not None
    query, key = given.place.query[:, :, None], given.place.key[:, None, :]
    visible, itself = rows.visible[:, 0], query == key
    earliest = jnp.where(visible, key, jnp.iinfo(key.dtype).max).min(-1, keepdims=True)
    real = (visible & itself).any(-1, keepdims=True)
    return jnp.where(visible & ~itself & (key != earliest) & real, jax.nn.relu(rows.logits[:, 0]), 0)


@register(
    source=Source(
        "Selective Attention Improves Transformer",
        "section 3",
        authors="Leviathan, Yaniv and Kalman, Matan and Matias, Yossi",
        year=2024,
        venue="ICLR 2025",
        arxiv="2410.02703",
    ),
    claims=Claims(
        bidirectional=False,
        cross=False,
        lse=False,
        heads_apart=False,
        rows_apart=False,
        masks=("Causal", "Padding", "Segments"),
    ),
)
def selective() -> RowScore:
    """Softmax of scaled dot products less what earlier tokens said is not needed any more; no array of its own."""
    return RowScore(scale=None, normalise=_normalise, start=_start)
