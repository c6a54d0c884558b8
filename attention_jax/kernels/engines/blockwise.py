"""Flash attention in JAX: softmax over any score, tile by tile, forward and backward, in memory linear in the tokens.

Forward is the online softmax of Milakov & Gimelshein 2018, algorithm 3, over tiles of keys (Rabe & Staats 2021; Dao et
al. 2022, algorithm 1). Backward forms the weights of each tile again from the log-normaliser L (Dao 2023, algorithm 2):
P = exp(S - L), dV = P^T dO, dP = dO V^T and, with delta = rowsum(dO * O) - dL for the cotangent dL of L,
dS = P * (dP - delta). dS goes back through the scores by their own derivative, so any score has its gradient.

Each tile of queries meets the tiles of keys that the mask leaves (`tiling`): first those wholly visible, without any
mask arithmetic, then those that are cut.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.engines import products
from attention_jax.kernels.engines.derivatives import forward_only, reverse_only
from attention_jax.kernels.engines.poison import finite, poisoned_rows
from attention_jax.kernels.engines.tiles import Differentiable, Layout, NonDifferentiable, Plan, Unit
from attention_jax.kernels.engines.tiling import TileSizes, tile_size
from attention_jax.kernels.mechanism import SoftmaxScore, unchanged
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.scores import Terms, folded, own_arrays, scorer_of

# The largest tiles, chosen by measurement (docs/decisions.md): a device of several threads shares each product out
# among them and wants large ones; a device of one thread wants its tile in the cache.
QUERY_TILE = 1024
KEY_TILE = 1024
ONE_THREAD_TILE = 512

_ONLY_REVERSE = (
    "the tiled engines (blockwise, gather, ring) have no forward-mode derivative (jvp, jacfwd, linearize): take grad, "
    "or jax.hessian for a second derivative, or name engine='dense', which has all."
)
_ONLY_ONCE = (
    "the tiled engines (blockwise, gather, ring) have no second derivative in reverse mode (grad of grad): take it in "
    "forward mode, jax.hessian or jvp of grad, or name engine='dense', which has all."
)


def refusal(problem: Problem) -> str | None:
    """Returns why the blockwise engine cannot solve the problem, or None."""
    if not isinstance(problem.variant.mechanism, SoftmaxScore):
        return "it is for a softmax over scores"
    if {"weights", "logits"} & {*problem.outputs}:
        return "it never holds all weights"
    if problem.state is not None or "state" in problem.outputs:
        return "it carries no state"
    return None


def run(problem: Problem) -> AttentionOutput:
    """Computes attention in large tiles."""
    return solve(problem, large_tiles(problem))


def large_tiles(problem: Problem) -> TileSizes:
    """Returns the tiles for a problem whose mask leaves most of them."""
    queries, keys = problem.query.shape[1], problem.key.shape[1]
    groups = problem.query.shape[2] // problem.key.shape[2]
    return TileSizes(tile_size(queries, max(16, largest(QUERY_TILE) // groups)), tile_size(keys, largest(KEY_TILE)))


def largest(tile: int) -> int:
    """Returns the largest tile for the devices at hand: several on one host have a thread each."""
    return min(tile, ONE_THREAD_TILE) if jax.local_device_count() > 1 else tile


def solve(problem: Problem, sizes: TileSizes) -> AttentionOutput:
    """Computes attention in tiles of these sizes."""
    plan, tensors, fixed = pieces(problem, sizes)
    out, lse = attention(plan, reverse_mode(tensors), fixed)
    return AttentionOutput(out=out.astype(problem.query.dtype), lse=lse if "lse" in problem.outputs else None)


def pieces(problem: Problem, sizes: TileSizes) -> tuple[Plan, Differentiable, NonDifferentiable]:
    """Splits a problem into what is static, what is differentiated and what is neither."""
    mechanism = problem.variant.mechanism
    assert isinstance(mechanism, SoftmaxScore)
    query, key = problem.query, problem.key
    # Where nothing is prepared, a tile is looked through when it is read.
    if mechanism.prepare_query is not unchanged:
        query = mechanism.prepare_query(finite(query), problem.given)
    if mechanism.prepare_key is not unchanged:
        key = mechanism.prepare_key(finite(key), problem.given)
    floating = tuple(bool(jnp.issubdtype(array.dtype, jnp.floating)) for array in problem.captures)
    captures = list(zip(problem.captures, floating, strict=True))
    bias = problem.bias
    terms = Terms(
        own=own_arrays(mechanism, problem.params),
        bias=None if bias is None else bias.reshape((1,) * (4 - bias.ndim) + bias.shape),
        captures=tuple(array for array, is_float in captures if is_float),
    )
    fixed = NonDifferentiable(
        mask=problem.mask,
        query=problem.query_axis,
        key=problem.key_axis,
        origin=problem.origin,
        captures=tuple(array for array, is_float in captures if not is_float),
        rng=_raw(problem.rng) if problem.dropout_rate else None,
        poisoned=poisoned_rows(problem),
    )
    scorer, query_scale = folded(scorer_of(mechanism, problem.score_mod, width=query.shape[-1]), query.dtype)
    plan = Plan(
        scorer=scorer,
        query_scale=query_scale,
        sizes=sizes,
        dropout_rate=problem.dropout_rate,
        floating=floating,
    )
    return plan, Differentiable(query, key, problem.value, terms), fixed


def reverse_mode(tensors: Differentiable) -> Differentiable:
    """Returns what is differentiated, in a form whose forward-mode derivative is refused in our words."""
    return jax.tree.map(partial(reverse_only, refusal=_ONLY_REVERSE), tensors)


def _raw(rng: Array | None) -> Array | None:
    return jax.random.key_data(rng) if rng is not None and jnp.issubdtype(rng.dtype, jax.dtypes.prng_key) else rng


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def attention(plan: Plan, tensors: Differentiable, fixed: NonDifferentiable) -> tuple[Array, Array]:
    """Returns out [B, T, N, Hv] and the log-normaliser [B, N, T], each differentiable."""
    return forward(plan, tensors, fixed)


@partial(jax.jit, static_argnums=0)
def forward(plan: Plan, tensors: Differentiable, fixed: NonDifferentiable) -> tuple[Array, Array]:
    """Returns out [B, T, N, Hv] and the log-normaliser [B, N, T]."""
    layout = Layout(plan, tensors, fixed)

    def step(number: Array, buffers: tuple[Array, Array]) -> tuple[Array, Array]:
        unit = layout.unit(number)
        out, lse = _rows(layout, unit)
        poisoned = layout.of_rows(fixed.poisoned, unit)
        out = jnp.where(poisoned[..., None], jnp.nan, out).swapaxes(1, 2).astype(buffers[0].dtype)
        lse = jnp.where(poisoned, jnp.nan, lse)
        return layout.write(buffers[0], out, unit), layout.write_rows(buffers[1], lse, unit)

    shape = (layout.batch, layout.queries, layout.heads, tensors.value.shape[-1])
    buffers = (
        jnp.zeros(shape, layout.dtype if plan.partial else tensors.query.dtype),
        jnp.zeros((layout.batch, layout.heads, layout.queries), layout.dtype),
    )
    return jax.lax.fori_loop(0, layout.units, step, buffers)


def _rows(layout: Layout, unit: Unit) -> tuple[Float[Array, "1 G t Hv"], Float[Array, "1 G t"]]:
    query = layout.query(unit)
    shape = (1, layout.groups, layout.plan.sizes.query)

    def meet(number: Array, carry: Any, *, cut: bool) -> Any:
        highest, total, weighted = carry
        slab = layout.slab(unit, number)
        key = layout.of_keys(layout.tensors.key, unit, slab)
        value = layout.of_keys(layout.tensors.value, unit, slab)
        scores = layout.logits(query, key, unit, slab)
        if cut:
            scores = jnp.where(layout.visible(unit, slab), scores, -jnp.inf)
        higher = jnp.maximum(highest, scores.max(-1))
        weights = jnp.exp(scores - higher[..., None])
        shrink = jnp.exp(highest - higher)
        total = total * shrink + weights.sum(-1)
        part = products.over_keys(layout.kept(weights, unit, slab).astype(layout.value_dtype), value, layout.dtype)
        return higher, total, weighted * shrink[..., None] + part

    carry = (
        # The lowest number and not -inf, whose difference with itself is NaN.
        jnp.full(shape, jnp.finfo(layout.dtype).min, layout.dtype),
        jnp.zeros(shape, layout.dtype),
        jnp.zeros((*shape, layout.tensors.value.shape[-1]), layout.dtype),
    )
    highest, total, weighted = _over_slabs(layout, unit, meet, carry)
    empty = total == 0
    total = jnp.where(empty, 1, total)
    return weighted / total[..., None], jnp.where(empty, -jnp.inf, highest + jnp.log(total))


def _over_slabs(layout: Layout, unit: Unit, meet: Callable[..., Any], carry: Any) -> Any:
    if layout.plan.sizes.slab > 1:
        # Mostly one slab is all: outside a loop its part is not added to zeros in memory.
        carry = meet(jnp.asarray(0), carry, cut=True)
        return jax.lax.fori_loop(1, unit.slabs, partial(meet, cut=True), carry)
    carry = jax.lax.fori_loop(0, unit.whole, partial(meet, cut=False), carry)
    return jax.lax.fori_loop(unit.whole, unit.slabs, partial(meet, cut=True), carry) if layout.cut else carry


@partial(jax.jit, static_argnums=0)
def backward(
    plan: Plan,
    tensors: Differentiable,
    fixed: NonDifferentiable,
    out: Float[Array, "B T N Hv"],
    lse: Float[Array, "B N T"],
    d_out: Float[Array, "B T N Hv"],
    of_lse: Float[Array, "B N T"],
) -> Differentiable:
    """Returns the gradients of what has any.

    Args:
      plan: as of `forward`.
      tensors: as of `forward`.
      fixed: as of `forward`.
      out: what the rows gave over all their keys, which may be more than these.
      lse: their log-normaliser over all their keys.
      d_out: the cotangent of `out`.
      of_lse: the cotangent of `lse`.
    """
    layout = Layout(plan, tensors, fixed)

    def step(number: Array, total: Differentiable) -> Differentiable:
        unit = layout.unit(number)
        live = unit.fresh[None, None] & ~layout.of_rows(fixed.poisoned, unit)
        given = products.by_head(layout.of_queries(d_out, unit)).swapaxes(1, 2)
        given = jnp.where(live[..., None], given, 0)
        result = jnp.where(live[..., None], layout.of_queries(out, unit).swapaxes(1, 2), 0)
        delta = jnp.sum(given.astype(layout.dtype) * result.astype(layout.dtype), axis=-1)
        delta = delta - jnp.where(live, layout.of_rows(of_lse, unit), 0)
        reference = layout.of_rows(lse, unit)
        reference = jnp.where(live & (reference > -jnp.inf), reference, jnp.inf)
        return _unit_gradients(layout, unit, total, given, delta, reference)

    zeros = jax.tree.map(lambda array: jnp.zeros(array.shape, layout.dtype), tensors)
    if plan.partial:
        return jax.lax.fori_loop(0, layout.units, step, zeros)
    zeros = zeros._replace(query=jnp.zeros_like(tensors.query))
    total = jax.lax.fori_loop(0, layout.units, step, zeros)
    return jax.tree.map(lambda gradient, array: gradient.astype(array.dtype), total, tensors)


def _unit_gradients(
    layout: Layout,
    unit: Unit,
    total: Differentiable,
    given: Float[Array, "1 G t Hv"],
    delta: Float[Array, "1 G t"],
    reference: Float[Array, "1 G t"],
) -> Differentiable:
    query = layout.query(unit)

    def meet(number: Array, carry: Any, *, cut: bool) -> Any:
        d_query, d_key, d_value, d_terms = carry
        slab = layout.slab(unit, number)
        key = layout.of_keys(layout.tensors.key, unit, slab)
        value = layout.of_keys(layout.tensors.value, unit, slab)
        visible = layout.visible(unit, slab) if cut else None
        scores, pullback = layout.logits_vjp(query, key, unit, slab, visible)
        weights = jnp.exp(scores - reference[..., None])
        of_weights = layout.kept(products.with_keys(given, value, layout.dtype), unit, slab)
        of_scores = weights * (of_weights - delta[..., None])
        if visible is not None:
            weights, of_scores = jnp.where(visible, weights, 0), jnp.where(visible, of_scores, 0)
        dropped = layout.kept(weights, unit, slab).astype(given.dtype)
        value_part = products.over_queries(dropped, given, layout.dtype, kv_heads=value.shape[2])
        query_part, key_part, terms_part = pullback(of_scores)
        return (
            d_query + query_part.astype(layout.dtype),
            layout.add_keys(d_key, key_part.astype(layout.dtype), unit, slab),
            layout.add_keys(d_value, value_part, unit, slab),
            layout.add_terms(d_terms, terms_part, unit, slab),
        )

    carry = (jnp.zeros(query.shape, layout.dtype), total.key, total.value, total.terms)
    d_query, d_key, d_value, d_terms = _over_slabs(layout, unit, meet, carry)
    d_query = layout.write(total.query, (d_query * layout.plan.query_scale).astype(total.query.dtype), unit)
    return Differentiable(d_query, d_key, d_value, d_terms)


def once(gradients: Differentiable) -> Differentiable:
    """Returns gradients in a form whose own reverse-mode derivative is refused in our words."""
    return jax.tree.map(partial(forward_only, refusal=_ONLY_ONCE), gradients)


def _attention_forward(
    plan: Plan, tensors: Differentiable, fixed: NonDifferentiable
) -> tuple[tuple[Array, Array], Any]:
    out, lse = forward(plan, tensors, fixed)
    return (out, lse), (tensors, fixed, out, lse)


def _attention_backward(plan: Plan, kept: Any, cotangents: tuple[Array, Array]) -> tuple[Differentiable, None]:
    tensors, fixed, out, lse = kept
    return once(backward(plan, tensors, fixed, out, lse, *cotangents)), None


attention.defvjp(_attention_forward, _attention_backward)
