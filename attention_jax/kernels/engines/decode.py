"""Softmax attention of a few queries to many keys: what generating the next token from a cache needs.

One pass over the keys, in tiles, by head as a cache holds them: each number is read once, in a product of a few rows,
and nothing large is copied or transposed. Numbers that are not finite show in what comes of them; only then is a tile
cleaned of them. The softmax is the online one of Milakov & Gimelshein 2018, algorithm 3; tiles in which no query sees a
key are skipped. Differentiable by JAX itself, forward and reverse.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from attention_jax.kernels import dropout
from attention_jax.kernels.engines import blockwise
from attention_jax.kernels.engines.poison import finite, nonfinite
from attention_jax.kernels.engines.tiling import tile_size
from attention_jax.kernels.mask_algebra import Axis, Tiles
from attention_jax.kernels.mechanism import Place, SoftmaxScore, dot, statistics_dtype, unchanged, widest
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.scores import Scorer, Terms, folded, scorer_of, shaped

MOST_QUERIES = 8
KEY_TILE = 512

Carry = tuple[Array, Array, Array, Array]


def refusal(problem: Problem) -> str | None:
    """Returns why the decode engine cannot solve the problem, or None."""
    mechanism = problem.variant.mechanism
    if not isinstance(mechanism, SoftmaxScore) or mechanism.pairwise is not dot:
        return "it is for a softmax over scaled dot products"
    if problem.query.shape[1] > MOST_QUERIES:
        return f"it is for at most {MOST_QUERIES} queries"
    if problem.per_token:
        return "it takes no per_token arrays"
    return blockwise.refusal(problem)


def run(problem: Problem) -> AttentionOutput:
    """Computes attention in one pass over the keys."""
    mechanism = problem.variant.mechanism
    assert isinstance(mechanism, SoftmaxScore)
    query, key = mechanism.prepare_query(finite(problem.query), problem.given), problem.key
    if mechanism.prepare_key is not unchanged:
        key = mechanism.prepare_key(finite(key), problem.given)
    batch, queries, heads, _ = query.shape
    keys, kv_heads = key.shape[1:3]
    size = tile_size(keys, KEY_TILE)
    dtype = statistics_dtype(query.dtype)
    scorer, factor = folded(scorer_of(mechanism, problem.score_mod, width=query.shape[-1]), query.dtype)
    grouped = _grouped(query * factor, kv_heads)
    as_given, key, value = (array.swapaxes(1, 2) for array in (problem.key, key, problem.value))
    value_dtype = widest(problem.query.dtype, problem.value.dtype)
    bad_query = nonfinite(problem.query).transpose(0, 2, 1)[..., None]

    def meet(carry: Carry, number: Array) -> Carry:
        highest, total, weighted, poisoned = carry
        start = jnp.minimum(number * size, keys - size)
        cut = partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=size, axis=2)
        index = start + jnp.arange(size)
        visible = _visible(problem, index) & (index >= number * size)[None, None, None]
        products, usual_keys = _of_finite("bkmh,bksh->bkms", grouped, cut(key), dtype)
        scores = _shaped(scorer, problem, products.reshape(batch, heads, queries, size), index, visible)
        scores = jnp.where(visible, scores, -jnp.inf)
        higher = jnp.maximum(highest, jax.lax.stop_gradient(scores.max(-1)))
        reference = jnp.where(higher == -jnp.inf, 0, higher)
        weights = jnp.where(visible, jnp.exp(scores - reference[..., None]), 0)
        shrink = jnp.exp(highest - reference)
        kept = dropout.dropped(weights, problem.rng, problem.dropout_rate, _place(problem, index))
        kept = kept.astype(value_dtype).reshape(batch, kv_heads, -1, size)
        part, usual_values = _of_finite("bkms,bksh->bkmh", kept, cut(value), value_dtype)
        bad = jax.lax.cond(
            usual_keys & usual_values,
            lambda: jnp.zeros((batch, kv_heads, size), bool),
            lambda: nonfinite(cut(as_given), cut(value)),
        )
        bad = jnp.repeat(bad, heads // kv_heads, axis=1)[:, :, None]
        return (
            higher,
            total * shrink + weights.sum(-1),
            weighted * shrink[..., None] + part.reshape(*total.shape, -1).astype(dtype),
            poisoned | (visible & (bad | bad_query)).any(-1),
        )

    shape = (batch, heads, queries)
    carry = (
        jnp.full(shape, -jnp.inf, dtype),
        jnp.zeros(shape, dtype),
        jnp.zeros((*shape, problem.value.shape[-1]), dtype),
        jnp.zeros(shape, bool),
    )
    met = _met(problem, size)

    def step(carry: Carry, number: Array) -> tuple[Carry, None]:
        return jax.lax.cond(met[number], meet, lambda carry, number: carry, carry, number), None

    if len(met) == 1:
        highest, total, weighted, poisoned = meet(carry, jnp.int32(0))
    else:
        highest, total, weighted, poisoned = jax.lax.scan(step, carry, jnp.arange(len(met)))[0]
    empty = total == 0
    total = jnp.where(empty, 1, total)
    out = jnp.where(poisoned[..., None], jnp.nan, weighted / total[..., None]).swapaxes(1, 2)
    lse = jnp.where(empty, -jnp.inf, jnp.where(empty, 0, highest) + jnp.log(total))
    lse = jnp.where(poisoned, jnp.nan, lse)
    return AttentionOutput(out=out.astype(problem.query.dtype), lse=lse if "lse" in problem.outputs else None)


def _grouped(query: Float[Array, "B T N H"], kv_heads: int) -> Float[Array, "B K m H"]:
    """The queries of all heads that one key head serves, together."""
    return query.swapaxes(1, 2).reshape(query.shape[0], kv_heads, -1, query.shape[-1])


def _of_finite(
    subscripts: str, few: Float[Array, "B K m _"], many: Float[Array, "B K s H"], dtype: jnp.dtype
) -> tuple[Float[Array, "B K m _"], Bool[Array, ""]]:
    """The product of some rows with the finite numbers of an array, and whether those were all it has.

    A number that is not finite makes each sum that it is in not finite, times 0 too. So all are read once, and again
    only where a result says so.
    """

    def product(few: Array, many: Array) -> Array:
        return jnp.einsum(subscripts, few, many, preferred_element_type=dtype)

    @jax.custom_jvp
    def of_finite(few: Array, many: Array) -> Array:
        found = product(few, many)
        return jax.lax.cond(
            jnp.isfinite(found).all(), lambda found, *_: found, lambda _, few, many: product(few, finite(many)),
            found, few, many,
        )  # fmt: skip

    @of_finite.defjvp
    def derivative(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
        found: tuple[Array, Array] = jax.jvp(lambda few, many: product(few, finite(many)), primals, tangents)
        return found

    # The same product as above, which XLA makes once.
    usual = jnp.isfinite(product(*map(jax.lax.stop_gradient, (few, many)))).all()
    return of_finite(few, many), usual


def _met(problem: Problem, size: int) -> Bool[Array, " j"]:
    key = problem.key_axis
    if problem.mask is None:
        return jnp.ones(-(-key.index.shape[0] // size), bool)
    queries = Tiles.of(problem.query_axis, problem.query.shape[1])
    return problem.mask.cover(queries, Tiles.of(key, size))[0].any((0, 1, 2))


def _axis(problem: Problem, index: Int[Array, " s"]) -> Axis:
    return Axis(problem.key_axis.index[index], problem.key_axis.position[:, index])


def _visible(problem: Problem, index: Int[Array, " s"]) -> Bool[Array, "b n t s"]:
    if problem.mask is None:
        return jnp.ones((1, 1, 1, index.shape[0]), bool)
    return problem.mask.visible(problem.query_axis, _axis(problem, index))


def _shaped(
    scorer: Scorer,
    problem: Problem,
    products: Float[Array, "B N T s"],
    index: Int[Array, " s"],
    visible: Bool[Array, "b n t s"],
) -> Float[Array, "B N T s"]:
    bias = problem.bias
    if bias is not None and bias.ndim and bias.shape[-1] > 1:
        bias = bias[..., index]
    return shaped(scorer, products, Terms({}, bias, problem.captures), _place(problem, index), visible)


def _place(problem: Problem, index: Int[Array, " s"]) -> Place:
    place = problem.place
    return Place(place.batch, place.heads, place.query, _axis(problem, index).position)
