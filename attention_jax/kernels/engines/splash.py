"""Splash attention on a TPU: the fused kernel for sparse masks that JAX ships with Pallas.

Not run on hardware: it is tested in Pallas's interpret mode against the dense engine, and in the program that it is
compiled to (tests/kernels/test_splash.py).

A window or a causal mask is computed inside the kernel; Padding and Segments become its segment ids, a hidden key in a
segment of its own. The kernel gives the mean of the values to a row that sees no key; here it is 0. It has no scale, so
queries are scaled before. Its normaliser has no gradient, so it is not returned.
"""

import functools
import importlib
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from attention_jax.kernels.engines import dot_product, platform
from attention_jax.kernels.engines.dot_product import Parts
from attention_jax.kernels.engines.poison import poisoned_rows, rows_that_see
from attention_jax.kernels.mechanism import SoftmaxScore, to_statistics
from attention_jax.kernels.problem import AttentionOutput, Problem

# Sizes of the kernel's blocks of queries and of keys, the first that divides both: it needs one that does.
BLOCKS = (512, 256, 128)


def refusal(problem: Problem) -> str | None:
    """Returns why splash attention cannot solve the problem, or None."""
    if platform.name() != "tpu":
        return f"it needs a TPU, and this is a {platform.name()}"
    if platform.split_by_compiler():
        return "the compiler cannot split its kernel over devices: call attend inside jax.shard_map(check_vma=False)"
    if any(jax.typeof(array).manual_axis_type.varying for array in (problem.query, problem.key, problem.value)):
        return "its kernel does not tell jax.shard_map over which devices it varies: give it check_vma=False"
    return dot_product.refusal(problem) or _refused_arrays(problem)


def _refused_arrays(problem: Problem) -> str | None:
    query, key, value = jax.eval_shape(lambda: dot_product.operands(problem))
    queries, keys = query.shape[1], key.shape[1]
    if queries % BLOCKS[-1] or keys % BLOCKS[-1]:
        return f"it takes multiples of {BLOCKS[-1]} tokens, not {queries} queries and {keys} keys"
    dtypes = {array.dtype for array in (query, key, value)}
    if len(dtypes) > 1 or not dtypes <= {jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float32)}:
        return f"it takes bfloat16 or float32, not {', '.join(sorted(map(str, dtypes)))}"
    if query.shape[-1] % 64 or value.shape[-1] % 64:
        return f"it takes heads of a width that is a multiple of 64, not {query.shape[-1]} and {value.shape[-1]}"
    segments = dot_product.parts(problem).segments
    if len(segments) > 1:
        return f"it takes one set of segments, not {len(segments)}"
    for ids in (segments[0].query_ids, segments[0].key_ids) if segments else ():
        if ids.dtype != jnp.int32:
            return f"it takes segment ids in int32, not {ids.dtype}"
    return None


def run(problem: Problem, *, interpret: bool = False) -> AttentionOutput:
    """Computes attention by the splash kernel, or by Pallas's interpreter of it."""
    mechanism, parts = problem.variant.mechanism, dot_product.parts(problem)
    assert isinstance(mechanism, SoftmaxScore)
    query, key, value = dot_product.operands(problem)
    kernel = _kernel(
        queries=query.shape[1],
        keys=key.shape[1],
        heads=query.shape[2],
        block=next(size for size in BLOCKS if query.shape[1] % size == 0 and key.shape[1] % size == 0),
        reach=(parts.left, parts.right),
        soft_cap=mechanism.soft_cap,
        interpret=interpret,
    )
    query = (to_statistics(query) * dot_product.scale_of(problem, query)).astype(query.dtype)
    heads_first = (jnp.swapaxes(array, 1, 2) for array in (query, key, value))
    out = jnp.swapaxes(jax.vmap(kernel)(*heads_first, _segment_ids(parts, problem)), 1, 2)
    if parts.paddings or any(rule.key is not None for rule in parts.segments):
        out = jnp.where(_sees_a_key(problem)[:, :, None, None], out, 0)
    poisoned = poisoned_rows(problem).swapaxes(1, 2)[..., None]
    return AttentionOutput(out=jnp.where(poisoned, jnp.nan, out).astype(problem.query.dtype))


def _pallas() -> Any:
    """Returns JAX's module of the kernel. Only a TPU needs it, and to import it takes as long as half of JAX."""
    return importlib.import_module("jax.experimental.pallas.ops.tpu.splash_attention")


# Cached, since each kernel that is made is compiled anew; its arrays are constants, also when made under jit.
@functools.lru_cache(maxsize=64)
def _kernel(
    *,
    queries: int,
    keys: int,
    heads: int,
    block: int,
    reach: tuple[int | None, int | None],
    soft_cap: float | None,
    interpret: bool,
) -> Any:
    splash = _pallas()
    whole = (queries, keys)
    mask = splash.FullMask(whole) if reach == (None, None) else splash.LocalMask(whole, reach, offset=0)
    blocks = splash.BlockSizes(
        block_q=block, block_kv=block, block_q_dkv=block, block_kv_dkv=block, block_q_dq=block, block_kv_dq=block
    )
    with jax.ensure_compile_time_eval():
        return splash.make_splash_mha_single_device(
            splash.MultiHeadMask([mask] * heads), block_sizes=blocks, attn_logits_soft_cap=soft_cap, interpret=interpret
        )


def _segment_ids(parts: Parts, problem: Problem) -> Any:
    """Returns the ids [B, T] and [B, S] with which the kernel hides what Padding and Segments hide, or None."""
    if not parts.paddings and not parts.segments:
        return None
    batch, queries, keys = *problem.query.shape[:2], problem.key.shape[1]
    of_query, of_key = jnp.zeros((1, queries), jnp.int32), jnp.zeros((1, keys), jnp.int32)
    for rule in parts.segments:
        of_query, of_key = rule.query_ids, rule.key_ids
    # An id that no query has; past the largest int32 it wraps to the smallest.
    nobody = of_query.max(-1, keepdims=True) + 1
    for padding in parts.paddings:
        of_key = jnp.where(padding.valid(jnp.arange(keys)), of_key, nobody)
    return _pallas().SegmentIds(jnp.broadcast_to(of_query, (batch, queries)), jnp.broadcast_to(of_key, (batch, keys)))


def _sees_a_key(problem: Problem) -> Bool[Array, "B T"]:
    """Returns which queries see some key; these masks are the same for all heads."""
    no_query = jnp.zeros((*problem.query.shape[:2], 1), bool)
    every_key = jnp.ones((*problem.key.shape[:2], 1), bool)
    return rows_that_see(no_query, every_key, problem.mask, problem.query_axis, problem.key_axis)[:, 0]
