"""cuDNN's fused attention on an NVIDIA GPU, through `jax.nn.dot_product_attention`.

Not run on hardware: what is tested is the program that it is compiled to (tests/kernels/test_cudnn.py).

What cuDNN gets wrong is not asked of it. A window with a left side alone would see the future (jax issue 39576), so a
window comes with `is_causal` or not at all. A row without keys is computed as if it had one, and set to 0. Its
normaliser has no gradient and is rounded to the dtype of the inputs, its dropout is not by position, and the gradient
of a bias could not be checked, so these are refused. jax cannot split it over devices along the tokens, and says so.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from attention_jax.kernels.engines import dot_product, platform
from attention_jax.kernels.engines.dot_product import Parts
from attention_jax.kernels.engines.poison import poisoned_rows
from attention_jax.kernels.mask import Padding
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.problem import AttentionOutput, Problem

# The first generation of GPUs that its fused kernel is for, and the widest head that it takes on all of them.
AMPERE = (8, 0)
WIDEST = 128


def refusal(problem: Problem) -> str | None:
    """Returns why cuDNN cannot solve the problem, or None."""
    if platform.name() != "cuda":
        return f"it needs an NVIDIA GPU, and this is a {platform.name()}"
    if platform.compute_capability() < AMPERE:
        return f"it needs a GPU of compute capability {AMPERE}, and this one has {platform.compute_capability()}"
    return dot_product.refusal(problem) or _refused_mask(problem) or _refused_arrays(problem)


def _refused_mask(problem: Problem) -> str | None:
    parts, mechanism = dot_product.parts(problem), problem.variant.mechanism
    if isinstance(mechanism, SoftmaxScore) and mechanism.soft_cap is not None:
        return "it takes no soft cap"
    if parts.segments:
        return "it takes no segments"
    if parts.left is not None and parts.right != 0:
        return "it takes a Window only together with Causal"
    if not all(_is_lengths(padding) for padding in parts.paddings):
        return "it takes Padding as lengths, not as an array of keys"
    if parts.left is not None and parts.paddings:
        return "it takes a Window or Padding, not both: a row past the padding sees no key"
    return None


def _refused_arrays(problem: Problem) -> str | None:
    query, key, value = jax.eval_shape(lambda: dot_product.operands(problem))
    dtypes = {array.dtype for array in (query, key, value)}
    if len(dtypes) > 1 or not dtypes <= {jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float16)}:
        return f"it takes bfloat16 or float16, not {', '.join(sorted(map(str, dtypes)))}"
    # jax has this limit for gradients with a bias, and takes the place it keeps for one to be one.
    if query.shape[1] % 2 or key.shape[1] % 2:
        return f"it takes even numbers of tokens, not {query.shape[1]} queries and {key.shape[1]} keys"
    if query.shape[-1] != value.shape[-1]:
        return f"it takes values as wide as the keys, not {value.shape[-1]} for {query.shape[-1]}"
    if query.shape[-1] % 8 or query.shape[-1] > WIDEST:
        return f"it takes heads of a width up to {WIDEST} that is a multiple of 8, not {query.shape[-1]}"
    return None


def run(problem: Problem) -> AttentionOutput:
    """Computes attention by cuDNN."""
    parts = dot_product.parts(problem)
    query, key, value, of_queries, of_keys = _mapped_alike(*dot_product.operands(problem), *_lengths(parts, problem))
    out = jax.nn.dot_product_attention(
        query,
        key,
        value,
        scale=dot_product.scale_of(problem, query),
        is_causal=parts.right == 0,
        query_seq_lengths=of_queries if parts.paddings else None,
        key_value_seq_lengths=jnp.maximum(of_keys, 1) if parts.paddings else None,
        local_window_size=None if parts.left is None else (parts.left, 0),
        implementation="cudnn",
    )
    out = jnp.where((of_keys > 0)[:, None, None, None], out, 0)
    poisoned = poisoned_rows(problem).swapaxes(1, 2)[..., None]
    return AttentionOutput(out=jnp.where(poisoned, jnp.nan, out).astype(problem.query.dtype))


def _is_lengths(padding: Padding) -> bool:
    return bool(jnp.issubdtype(padding.real.dtype, jnp.integer))


def _lengths(parts: Parts, problem: Problem) -> tuple[Int[Array, " B"], Int[Array, " B"]]:
    """Returns how many queries and how many keys each sequence has."""
    batch, queries, keys = *problem.query.shape[:2], problem.key.shape[1]
    of_keys = jnp.full((batch,), keys, jnp.int32)
    for padding in parts.paddings:
        of_keys = jnp.minimum(of_keys, padding.real.astype(jnp.int32))
    return jnp.full((batch,), queries, jnp.int32), of_keys


def _mapped_alike(*arrays: Array) -> list[Array]:
    """Returns the arrays, each with a 0 added that depends on all: jax 0.10.2 vmaps its kernel over all or none."""
    zeros = [jnp.where(array[(0,) * array.ndim] > 0, 0, 0) for array in arrays]
    zero = functools.reduce(jnp.add, zeros)
    return [array + zero.astype(array.dtype) for array in arrays]
