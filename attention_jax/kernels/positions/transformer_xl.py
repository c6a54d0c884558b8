"""z_ij = ((q_i + u) . k_j + (q_i + v) . W r_(i-j)) / sqrt(H): Dai et al. 2019, section 3.3.

r_d is the sinusoid of Vaswani et al. at the distance d, sines before cosines as in the authors' code; u, v and W are
learned for each head. sin w(i - j) and cos w(i - j) are made of what belongs to i and of what belongs to j, so that all
is one dot product of wider queries and keys: no distance is looked up, and any engine takes it. The paper's r is as
wide as the model, which a kernel does not know.
"""

from dataclasses import replace

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Sizes, constant, normal
from attention_jax.kernels.mechanism import Given, Score, statistics_dtype, to_statistics
from attention_jax.kernels.position import Position, PositionClaims, check_dot_products, register_position
from attention_jax.kernels.registry import Limit
from attention_jax.kernels.rotation import angles_at, frequencies, rotated
from attention_jax.kernels.scores import scale_of
from attention_jax.kernels.source import Source

CONTENT_BIAS, POSITION_BIAS, PROJECTION = "position_u", "position_v", "position_projection"
BASE = 10000.0


def _nothing(sizes: Sizes) -> dict[str, Array]:
    heads = (sizes.heads, sizes.query)
    return {CONTENT_BIAS: jnp.zeros(heads), PROJECTION: jnp.zeros((*heads, 6))}


def _encoded(mechanism: Score, width: int) -> Score:
    check_dot_products("transformer_xl", mechanism)

    def turned(array: Float[Array, "B T N F"], positions: Int[Array, "b T"]) -> Float[Array, "B T N F"]:
        return rotated(array, angles_at(positions, frequencies(width, BASE), array.dtype)[:, :, None])

    def query(array: Array, given: Given) -> Array:
        assert given.place is not None
        wide = to_statistics(array)
        u, v, projection = (given.params[name].astype(wide.dtype) for name in (CONTENT_BIAS, POSITION_BIAS, PROJECTION))
        content = mechanism.prepare_query(wide + u[None, None], given)
        sines, cosines = jnp.split(jnp.einsum("btnh,nhf->btnf", wide + v[None, None], projection), 2, axis=-1)
        placed = turned(jnp.concatenate([cosines, -sines], axis=-1), given.place.query)
        scale = scale_of(mechanism, content.shape[-1])
        return (jnp.concatenate([content.astype(wide.dtype), placed], axis=-1) * scale).astype(array.dtype)

    def key(array: Array, given: Given) -> Array:
        assert given.place is not None
        prepared = mechanism.prepare_key(array, given)
        ones = jnp.ones((*prepared.shape[:-1], width // 2), statistics_dtype(array.dtype))
        waves = turned(jnp.concatenate([ones, jnp.zeros_like(ones)], axis=-1), given.place.key)
        return jnp.concatenate([prepared, waves.astype(prepared.dtype)], axis=-1)

    return replace(mechanism, prepare_query=query, prepare_key=key, scale=1.0)


@register_position(
    source=Source(
        "Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context",
        "section 3.3",
        authors=(
            "Dai, Zihang and Yang, Zhilin and Yang, Yiming and Carbonell, Jaime and Le, Quoc V. and "
            "Salakhutdinov, Ruslan"
        ),
        year=2019,
        venue="ACL 2019",
        arxiv="1901.02860",
    ),
    claims=PositionClaims(
        limits=(Limit("transformer_xl:width=6", "scaled_dot", 1e-6, params=_nothing),), tried="transformer_xl:width=12"
    ),
    aliases=("xl",),
)
def transformer_xl(*, width: int = 64) -> Position:
    """Queries compared with the sinusoid of the distance too, each comparison with a bias of its own.

    Args:
      width: of the sinusoid.

    Raises:
      Refused: width is not an even number from 2.
    """
    if width < 2 or width % 2:
        raise Refused(f"transformer_xl has width={width}: give an even number from 2.")
    arrays = {
        CONTENT_BIAS: constant(0.0, "N", "H"),
        POSITION_BIAS: constant(0.0, "N", "H"),
        PROJECTION: normal("N", "H", width, fan_in=(-1,)),
    }
    return Position(encode=lambda mechanism: _encoded(mechanism, width), arrays=arrays)
