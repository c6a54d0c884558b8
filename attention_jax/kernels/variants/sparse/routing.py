"""Attention within clusters of tokens, the Routing Transformer: Roy et al. 2020, section 4 and algorithm 1.

Each head has centroids on the unit sphere. Each centroid takes the `window` queries and the `window` keys whose
directions are the nearest to it, so that clusters are of one size, and its queries attend to its keys. A query taken by
several centroids gets the mean of what they give, one taken by none gets 0.

Where paper and code disagree: algorithm 1 attends with the normalised queries and keys and, if causal, takes the
queries as keys too; here directions serve the routing alone and both are as they are given, as in the cross attention
of the published routing-transformer. Under a causal mask a query may then see no key of a cluster, which counts for
nothing in its mean. That code adds 1e-5 to the count that the mean is divided by, gives each cluster a learned key and
value under a causal mask, and lets padding take places in the clusters; here nothing is added and padding takes none.

The centroids are given and not trained by the gradient: their moving average over the tokens is a state of the model.
`aux` has the commitment loss, |x / |x| - centroid|^2 to the nearest centroid, of each query and of each key; 0 for what
padding hides. Under a causal mask no value of the future is seen, but tokens of the future compete for places.
"""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Declared
from attention_jax.kernels.block_choice import as_sequences
from attention_jax.kernels.composition import Composition, Solve, on_other_tokens, past_nan
from attention_jax.kernels.mask import Causal, Padding
from attention_jax.kernels.mask_algebra import Mask
from attention_jax.kernels.mechanism import SoftmaxScore, statistics_dtype, to_statistics, unit
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.registry import Claims, Limit, Source, register


@register(
    source=Source(
        "Efficient Content-Based Sparse Attention with Routing Transformers",
        "section 4, algorithm 1",
        authors="Roy, Aurko and Saffar, Mohammad and Vaswani, Ashish and Grangier, David",
        year=2020,
        venue="TACL 2021",
        arxiv="2003.05997",
    ),
    claims=Claims(
        causal="approximate",
        time="linear",
        cross=False,
        bias=False,
        dropout=False,
        weights=False,
        lse=False,
        weighted="some",
        aux=("query_commitment", "key_commitment"),
        order_free=False,
        rows_apart=False,
        masks=("Causal", "Padding"),
        limits=(Limit("routing:clusters=1,window=7", equals="scaled_dot", tolerance=2e-6),),
        tried="routing:clusters=2,window=3",
    ),
)
def routing(*, clusters: int = 16, window: int = 128) -> Composition:
    """Scaled dot-product attention of the queries that a centroid takes to the keys that it takes.

    Args:
      clusters: how many centroids a head has; about the root of the number of tokens.
      window: the paper's w, how many queries and how many keys a centroid takes; about tokens / clusters.

    Raises:
      Refused: an option is smaller than 1.
    """
    for name, number in (("clusters", clusters), ("window", window)):
        if number < 1:
            raise Refused(f"routing:{name}={number} must be a whole number of at least 1.")

    def run(problem: Problem, solve: Solve) -> AttentionOutput:
        batch, tokens, heads, _ = problem.query.shape
        query = problem.query.swapaxes(1, 2)
        key, value = (
            jnp.repeat(array.swapaxes(1, 2), heads // array.shape[2], axis=1) for array in (problem.key, problem.value)
        )
        real = problem.real
        centroids = unit(problem.params["centroids"].astype(statistics_dtype(query.dtype)))
        (mine, of_mine), (theirs, of_theirs) = (_taken(array, centroids, real, window) for array in (query, key))
        positions = [
            as_sequences(jnp.broadcast_to(axis.position[:, None, :, None], (batch, heads, tokens, 1)), at)[..., 0, 0]
            for axis, at in ((problem.query_axis, mine), (problem.key_axis, theirs))
        ]
        seen: Mask = Padding(of_theirs.reshape(-1, of_theirs.shape[-1]))
        causal = problem.mask is not None and problem.mask.causal
        part = on_other_tokens(
            problem,
            SoftmaxScore(scale=None),
            name="clusters",
            query=as_sequences(query, mine),
            key=as_sequences(key, theirs),
            value=as_sequences(value, theirs),
            mask=Causal() & seen if causal else seen,
            positions=(positions[0], positions[1]),
            outputs=("out", "lse"),
        )
        result = solve(part)
        assert result.lse is not None
        gives = of_mine & (result.lse > -jnp.inf).reshape(mine.shape)
        out = _mean(result.out.reshape(*mine.shape, -1), mine, gives, tokens).swapaxes(1, 2)
        found = AttentionOutput(out=out.astype(problem.query.dtype))
        if "aux" not in problem.outputs:
            return found
        losses = (_commitment(array, centroids, real) for array in (query, key))
        return replace(found, aux=dict(zip(("query_commitment", "key_commitment"), losses, strict=True)))

    return Composition(
        run=past_nan(run), arrays={"centroids": Declared(("N", clusters, "H"), _directions, trained=False)}
    )


def _directions(rng: Array, shape: tuple[int, ...], sizes: object) -> Float[Array, "N c H"]:
    return unit(jax.random.normal(rng, shape, jnp.float32))


def _taken(
    array: Float[Array, "B N T H"], centroids: Float[Array, "N c H"], real: Bool[Array, "B T"], window: int
) -> tuple[Int[Array, "B N c w"], Bool[Array, "B N c w"]]:
    """The tokens that each centroid takes, and which of them are real."""
    nearness = jnp.einsum("bnth,nch->bnct", unit(jax.lax.stop_gradient(array)), centroids)
    nearness = jnp.where(real[:, None, None], nearness, -jnp.inf)
    best, chosen = jax.lax.top_k(nearness, min(window, array.shape[2]))
    return chosen, best > -jnp.inf


def _mean(
    given: Float[Array, "B N c w Hv"], chosen: Int[Array, "B N c w"], gives: Bool[Array, "B N c w"], tokens: int
) -> Float[Array, "B N T Hv"]:
    """For each token the mean of what the clusters give it, 0 where none does."""
    given = jnp.where(gives[..., None], to_statistics(given), 0)
    add: Callable[[Array, Array, Array], Array] = jax.vmap(jax.vmap(lambda total, at, one: total.at[at].add(one)))
    flat = chosen.reshape(*chosen.shape[:2], -1)
    total = jnp.zeros((*chosen.shape[:2], tokens, given.shape[-1]), given.dtype)
    total = add(total, flat, given.reshape(*flat.shape, -1))
    count = add(
        jnp.zeros((*chosen.shape[:2], tokens), given.dtype), flat, gives.reshape(flat.shape).astype(given.dtype)
    )
    return total / jnp.maximum(count, 1)[..., None]


def _commitment(
    array: Float[Array, "B N T H"], centroids: Float[Array, "N c H"], real: Bool[Array, "B T"]
) -> Float[Array, "B N T"]:
    """|x / |x| - c|^2 = 2 - 2 max_c x . c / |x|, whose gradient moves the tokens."""
    nearest = jnp.einsum("bnth,nch->bntc", unit(array), jax.lax.stop_gradient(centroids)).max(-1)
    return jnp.where(real[:, None], 2 - 2 * nearest, 0)
