"""Attention of the centroids of clusters of queries: Vyas et al. 2020, equations 3 to 6; improved, 8 to 11.

Queries are clustered by the signs of random projections with offsets, whose Hamming distance goes with the Euclidean
one, and Lloyd's iteration among them. Each query has what the mean of its cluster attends to. Improved (`top_k` above
0), it weighs the keys that its centroid sees most by its own softmax over them, which shares out the mass that the
centroid gives them; the other keys keep the centroid's weights.

A cluster mixes later queries in, so there is no causal form. The choice of clusters and of keys has no gradient. The
paper does not say where Lloyd's iteration starts; the published code draws new planes at each call, where here they are
drawn once. A query that padding hides is in no mean, and has what its nearest cluster has.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import normal
from attention_jax.kernels.budget import at_a_time
from attention_jax.kernels.composition import Composition, Solve, on_other_tokens, past_nan
from attention_jax.kernels.engines.rows import weighted_sum
from attention_jax.kernels.mask import Padding
from attention_jax.kernels.mechanism import SoftmaxScore, to_statistics
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.registry import Claims, Limit, Source, register
from attention_jax.kernels.softmax import masked_softmax
from attention_jax.kernels.variants.lowrank.hamming import clusters_of, membership, signs


def _run(problem: Problem, solve: Solve, *, clusters: int, top_k: int, iterations: int) -> AttentionOutput:
    query, key, real = problem.query, problem.key, problem.real
    if top_k > key.shape[1]:
        raise Refused(f"clustered:top_k={top_k} is more than the {key.shape[1]} keys there are: give fewer.")
    clusters = min(clusters, query.shape[1])
    number = clusters_of(signs(query, problem.params["planes"]), real, clusters=clusters, iterations=iterations)
    members = membership(number, real, clusters, to_statistics(query).dtype)
    sums = jnp.einsum("bntc,btnh->bcnh", members, to_statistics(query))
    centroids = sums / jnp.maximum(members.sum(2), 1).swapaxes(1, 2)[..., None]
    part = on_other_tokens(
        problem,
        SoftmaxScore(scale=None),
        name="centroids",
        query=centroids.astype(query.dtype),
        key=key,
        value=problem.value,
        mask=Padding(real),
        outputs=("out", "weights") if top_k else ("out",),
    )
    found = solve(part)
    if not top_k:
        return AttentionOutput(_of_members(found.out, number))
    assert found.weights is not None
    return AttentionOutput(_improved(problem, found.weights, number, real, top_k).astype(query.dtype))


def _of_members(of_clusters: Float[Array, "B C N V"], number: Int[Array, "B N T"]) -> Float[Array, "B T N V"]:
    return jnp.take_along_axis(of_clusters, number.swapaxes(1, 2)[..., None], axis=1)


def _improved(
    problem: Problem,
    weights: Float[Array, "B N C S"],
    number: Int[Array, "B N T"],
    real: Bool[Array, "B S"],
    top_k: int,
) -> Float[Array, "B T N Hv"]:
    """The centroids' weights for the keys that they see least, the query's own for those that they see most."""
    groups = problem.query.shape[2] // problem.key.shape[2]
    query, key, value = (to_statistics(array) for array in (problem.query, problem.key, problem.value))
    top = jax.lax.top_k(jax.lax.stop_gradient(jnp.where(real[:, None, None], weights, -1)), top_k)[1]
    mass = jnp.take_along_axis(weights, top, axis=-1).sum(-1)
    chosen = jnp.put_along_axis(jnp.zeros(weights.shape, bool), top, True, axis=-1, inplace=False)
    rest = _of_members(weighted_sum(jnp.where(chosen, 0, weights), value, query.dtype), number)
    by_head = jnp.arange(query.shape[2]) // groups
    batch = jnp.arange(query.shape[0])[:, None, None]

    @jax.checkpoint
    def own(one: tuple[Float[Array, "B N H"], Int[Array, "B N"]]) -> Float[Array, "B N V"]:
        token, cluster = one
        places = jnp.take_along_axis(top, cluster[..., None, None], axis=2)[:, :, 0]
        few_keys, few_values = (array[batch, places, by_head[None, :, None]] for array in (key, value))
        logits = jnp.einsum("bnh,bnkh->bnk", token, few_keys) / query.shape[-1] ** 0.5
        share = jnp.take_along_axis(mass, cluster[..., None], axis=2)
        return jnp.einsum("bnk,bnkv->bnv", share * masked_softmax(logits, real[batch, places]), few_values)

    size = query.shape[0] * query.shape[2] * top_k * (query.shape[-1] + value.shape[-1])
    several = at_a_time(query.shape[1], size)
    of_queries = jax.lax.map(own, (query.swapaxes(0, 1), jnp.moveaxis(number, 2, 0)), batch_size=several)
    return of_queries.swapaxes(0, 1) + rest


@register(
    source=Source(
        "Fast Transformers with Clustered Attention",
        "equations 3 to 6; improved, 8 to 11",
        authors="Vyas, Apoorv and Katharopoulos, Angelos and Fleuret, François",
        year=2020,
        venue="NeurIPS 2020",
        arxiv="2007.04825",
    ),
    claims=Claims(
        causal="no",
        time="linear",
        cross=False,
        bias=False,
        dropout=False,
        weights=False,
        lse=False,
        convex=True,
        order_free=False,
        rows_apart=False,
        masks=("Padding",),
        limits=(
            Limit("clustered:clusters=7", equals="scaled_dot", tolerance=2e-6),
            Limit("clustered:clusters=2,top_k=7", equals="scaled_dot", tolerance=2e-6),
        ),
        tried="clustered:clusters=2,top_k=2,bits=8",
        fewest_keys=2,
    ),
)
def clustered(*, clusters: int = 25, top_k: int = 0, bits: int = 63, iterations: int = 10) -> Composition:
    """Scaled dot-product attention of the means of clusters of queries, each query having what its cluster has.

    Args:
      clusters: how many, at most; no more than there are queries. The paper has 25 for GLUE, 100 for speech.
      top_k: of each cluster, how many keys its queries weigh themselves, the paper's k (32): improved clustered
        attention. 0: none.
      bits: how many random projections the clusters go by.
      iterations: how often their centres move.

    Raises:
      Refused: an option is too small.
    """
    for name, chosen, least in (("clusters", clusters, 1), ("top_k", top_k, 0), ("bits", bits, 1)):
        if chosen < least:
            raise Refused(f"clustered:{name}={chosen} is too few: give at least {least}.")
    if iterations < 0:
        raise Refused(f"clustered:iterations={iterations} is too few: give at least 0, where centres stay.")

    def run(problem: Problem, solve: Solve) -> AttentionOutput:
        return _run(problem, solve, clusters=clusters, top_k=top_k, iterations=iterations)

    planes = normal(bits, lambda sizes: sizes.query + 1, fan_in=(), trained=False)
    return Composition(run=past_nan(run), arrays={"planes": planes})
