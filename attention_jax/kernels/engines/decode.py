"""Softmax attention of a few queries to many keys: what generating the next token from a cache needs.

One pass over the keys, in tiles of all heads at once, as they lie in memory: with [S, K H] left as it is, the queries
of all heads stand in one block-diagonal matrix [K H, N T], so that each tile of keys and values is read once, and
nothing large is copied or transposed. The softmax is the online one of Milakov & Gimelshein 2018, algorithm 3; tiles in
which no query sees a key are skipped. Differentiable by JAX itself, forward and reverse.
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

# The block-diagonal matrix multiplies K times too much, which costs nothing while reading the keys costs more.
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
    spread = _block_diagonal(query * factor, kv_heads)
    value_dtype = widest(problem.query.dtype, problem.value.dtype)
    bad_query = nonfinite(problem.query).transpose(0, 2, 1)[..., None]

    def meet(carry: Carry, number: Array) -> Carry:
        highest, total, weighted, poisoned = carry
        start = jnp.minimum(number * size, keys - size)
        cut = partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=size, axis=1)
        index = start + jnp.arange(size)
        visible = _visible(problem, index) & (index >= number * size)[None, None, None]
        products = jnp.einsum("bsd,bdm->bsm", _flat(finite(cut(key))), spread, preferred_element_type=dtype)
        # The barrier keeps XLA from transposing the keys in place of the few products.
        products = jax.lax.optimization_barrier(products).swapaxes(1, 2)
        scores = _shaped(scorer, problem, products.reshape(batch, heads, queries, size), index, visible)
        scores = jnp.where(visible, scores, -jnp.inf)
        higher = jnp.maximum(highest, jax.lax.stop_gradient(scores.max(-1)))
        reference = jnp.where(higher == -jnp.inf, 0, higher)
        weights = jnp.where(visible, jnp.exp(scores - reference[..., None]), 0)
        shrink = jnp.exp(highest - reference)
        value = cut(problem.value)
        kept = dropout.dropped(weights, problem.rng, problem.dropout_rate, _place(problem, index))
        part = _own_heads(kept.astype(value_dtype), _flat(finite(value)), kv_heads)
        bad = jnp.repeat(nonfinite(cut(problem.key), value), heads // kv_heads, axis=2).transpose(0, 2, 1)[:, :, None]
        return (
            higher,
            total * shrink + weights.sum(-1),
            weighted * shrink[..., None] + part.astype(dtype),
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

    highest, total, weighted, poisoned = jax.lax.scan(step, carry, jnp.arange(met.shape[0]))[0]
    empty = total == 0
    total = jnp.where(empty, 1, total)
    out = jnp.where(poisoned[..., None], jnp.nan, weighted / total[..., None]).swapaxes(1, 2)
    lse = jnp.where(empty, -jnp.inf, jnp.where(empty, 0, highest) + jnp.log(total))
    lse = jnp.where(poisoned, jnp.nan, lse)
    return AttentionOutput(out=out.astype(problem.query.dtype), lse=lse if "lse" in problem.outputs else None)


def _flat(array: Float[Array, "B s K H"]) -> Float[Array, "B s D"]:
    return array.reshape(*array.shape[:2], -1)


def _block_diagonal(query: Float[Array, "B T N H"], kv_heads: int) -> Float[Array, "B D M"]:
    batch, queries, heads, width = query.shape
    grouped = query.reshape(batch, queries, kv_heads, heads // kv_heads, width)
    spread = jnp.einsum("btkgh,kj->bjhkgt", grouped, jnp.eye(kv_heads, dtype=query.dtype))
    return spread.reshape(batch, kv_heads * width, heads * queries)


def _own_heads(
    weights: Float[Array, "B N T s"], value: Float[Array, "B s D"], kv_heads: int
) -> Float[Array, "B N T Hv"]:
    batch, heads, queries, size = weights.shape
    every = jnp.einsum("bms,bsd->bmd", weights.reshape(batch, -1, size), value)
    every = every.reshape(batch, kv_heads, heads // kv_heads, queries, kv_heads, -1)
    own = jnp.einsum("bkgtjh,kj->bkgth", every, jnp.eye(kv_heads, dtype=every.dtype))
    return own.reshape(batch, heads, queries, -1)


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
