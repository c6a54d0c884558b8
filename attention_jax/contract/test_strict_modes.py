"""JAX's own strict modes: nothing is spread over axes or turned into another dtype unasked, and no step gives NaN."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    SPECS,
    Inputs,
    claiming,
    claims,
    make,
    one_way,
    qualified,
    reference_engine,
    run,
    widely,
)
from attention_jax.contract.mask_cases import takes_mask
from attention_jax.contract.on_the_way import operations_that_give_nan
from attention_jax.kernels import Causal, KeyValueCache, Padding, Segments, Sizes, attend_cached, lookup
from attention_jax.kernels.mask_algebra import conjunction


@contextlib.contextmanager
def strict() -> Iterator[None]:
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


LENGTHS, SEGMENT = np.array([7, 4]), np.array([[0, 0, 0, 1, 1, 1, 1]] * 2)
BESIDE = (None, Padding(LENGTHS), Padding(LENGTHS) & Segments(SEGMENT))
CACHED = claiming(causal="strict", cross=True, rows_apart=True, state=False)


def nearer(score, batch, head, query, key):
    return score - 0.1 * (query - key).astype(score.dtype) ** 2


def arguments_of(spec: str) -> dict:
    """All that the variant takes beside a mask: a bias of fewer axes, a score function, dropout."""
    own = claims(spec)
    return {
        **({"bias": jnp.ones(7), "score_mod": nearer} if own.bias else {}),
        **({"dropout_rate": 0.2, "rng": jax.random.key(0)} if own.dropout else {}),
    }


def gradients(spec: str, inputs: Inputs, **arguments) -> Inputs:
    def total(inputs: Inputs) -> jax.Array:
        return run(spec, inputs, **arguments).out.astype(jnp.float32).sum()

    return jax.grad(total)(inputs)


def padded(spec):
    """Padding, with a causal mask where the variant has one."""
    return conjunction(one_way(spec), BESIDE[1])


def masks_of(spec):
    """Those of the masks that the variant takes."""
    return [mask for mask in (conjunction(one_way(spec), other) for other in BESIDE) if takes_mask(spec, mask)]


@pytest.mark.parametrize(
    ("spec", "dtype"), [(spec, "bfloat16") for spec in SPECS] + widely((spec, "float32") for spec in SPECS)
)
def test_every_engine_is_traced_forward_and_backward_in_the_strict_modes(spec, dtype):
    strictly_traced(spec, dtype, {"mask": padded(spec), **arguments_of(spec)})


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("spec", widely(SPECS))
def test_under_every_mask_too(spec, dtype):
    strictly_traced(spec, dtype, *({"mask": mask} for mask in masks_of(spec)))


def strictly_traced(spec, dtype, *cases):
    inputs = make(spec, dtype=jnp.dtype(dtype))
    for arguments in cases:
        for engine in qualified(spec, inputs, **arguments):
            with strict():
                jax.eval_shape(lambda i, a=arguments, e=engine: gradients(spec, i, engine=e, **a), inputs)


@pytest.mark.parametrize("spec", widely(CACHED))
def test_a_cache_is_traced_in_the_strict_modes(spec):
    inputs, lengths = make(spec, length=600), jnp.array([7, 3])
    heads, kv_heads, width = inputs.query.shape[2], inputs.key.shape[2], inputs.query.shape[3]
    cache = KeyValueCache.empty(Sizes(heads, kv_heads, width, width, 5), batch=2, capacity=600)

    def step(inputs: Inputs, lengths: jax.Array) -> jax.Array:
        given = {"variant": spec, "params": inputs.params, "new_lengths": lengths}
        return attend_cached(*inputs[:3], cache, mask=Causal(), **given)[0].out

    if lookup(spec).mechanism.per_token:
        pytest.skip("the cache holds no per_token arrays")
    with strict():
        jax.eval_shape(step, inputs, lengths)


@pytest.mark.parametrize(
    ("spec", "whole"), [(spec, False) for spec in SPECS] + widely((spec, True) for spec in SPECS if arguments_of(spec))
)
def test_no_operation_gives_nan_on_the_way_to_finite_results(spec, whole):
    arguments = {"mask": padded(spec), **arguments_of(spec)} if whole else {"mask": masks_of(spec)[-1]}
    engine = reference_engine(spec)
    assert not operations_that_give_nan(lambda inputs: gradients(spec, inputs, engine=engine, **arguments), make(spec))
