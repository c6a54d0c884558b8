"""A window of Gaussians that slides over the keys: Graves 2013, equations 46 to 51.

w_tj = sum_m exp(a_m) exp(-exp(b_m) (kappa_m - j)^2) with kappa_t = kappa_t-1 + exp(c): (a, b, c) = W q_t + bias, so it
only moves on. It goes by the positions of the keys, counted from 1 as in the paper, and looks at nothing else of them;
its weights are not normalised.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.kernels.alignment import Alignment, Looked
from attention_jax.kernels.arrays import Declared, Sizes, constant, fan_in_normal
from attention_jax.kernels.mechanism import Given, to_statistics
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.variants.alignment.states import CLAIMS


def _prepare_query(query: Float[Array, "B T N H"], given: Given) -> Float[Array, "B T N P"]:
    weight, bias = given.params["weight"].astype(query.dtype), given.params["bias"][None, None]
    return to_statistics(jnp.einsum("btnh,nhp->btnp", query, weight)) + bias


def _step(
    state: Float[Array, "B N M"],
    query: Float[Array, "B N P"],
    key: Float[Array, "B S K J"],
    visible: Bool[Array, "B N S"],
    given: Given,
) -> Looked:
    assert given.place is not None
    height, narrowness, step = jnp.split(query, 3, -1)
    center = state + jnp.exp(step)
    distance = center[..., None] - (given.place.key + 1).astype(center.dtype)[:, None, None]
    bumps = jnp.exp(height[..., None] - jnp.exp(narrowness)[..., None] * distance**2)
    return Looked(bumps.sum(-2), center)


def _near_zero(rng: PRNGKeyArray, shape: tuple[int, ...], sizes: Sizes) -> Array:
    # It starts with bumps of height and width near 1, which move on by about one key a query.
    return 0.1 * fan_in_normal(rng, shape, fan_in=shape[1])


def _start(key: Float[Array, "B S K J"], heads: int, components: int) -> Float[Array, "B N M"]:
    return to_statistics(jnp.zeros((key.shape[0], heads, components), key.dtype))


@register(
    source=Source(
        "Generating Sequences With Recurrent Neural Networks",
        "equations 46 to 51",
        authors="Graves, Alex",
        year=2013,
        arxiv="1308.0850",
    ),
    claims=CLAIMS(convex=False, memory="linear", tried="gmm:components=2"),
    aliases=("graves",),
)
def gmm(*, components: int = 10) -> Alignment:
    """A mixture of Gaussians over the places of the keys, whose centers move on as each query says.

    Args:
      components: how many Gaussians.

    Raises:
      Refused: components is smaller than 1.
    """
    if components < 1:
        raise Refused(f"gmm has components={components}: it needs at least 1 Gaussian.")
    return Alignment(
        arrays={"weight": Declared(("N", "H", 3 * components), _near_zero), "bias": constant(0.0, "N", 3 * components)},
        prepare_query=_prepare_query,
        start=lambda key, heads, given: _start(key, heads, components),
        step=_step,
    )
