"""What the tests of poolings share: one spec for each, with a query and without, one set of inputs, one program."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.contract.cases import quick_jit
from attention_jax.contract.chosen import chosen_specs
from attention_jax.kernels.pool import POOLINGS, Pooled, PoolingClaims, lookup_pooling, pool, pooling_init

SPECS = chosen_specs(POOLINGS)


def _with_query(spec: str) -> list[bool]:
    made = lookup_pooling(spec).made
    if not made.takes_query:
        return [False]
    return [True] if made.without_query is None else [True, False]


# Each spec, and whether it is given a query.
CASES = [(spec, with_query) for spec in SPECS for with_query in _with_query(spec)]
BATCH, TOKENS, WIDTH, QUERY_WIDTH = 3, 7, 4, 5
# Padding before, between and behind; all real; none.
REAL = np.array([[0, 1, 1, 0, 1, 1, 0], [1] * 7, [0] * 7], bool)


class Inputs(NamedTuple):
    """What is differentiated.

    Attributes:
      hidden: [B, T, D].
      params: the pooling's arrays by name.
      query: [B, Q], or None.
    """

    hidden: jax.Array
    params: dict[str, jax.Array]
    query: jax.Array | None


def claims(spec: str) -> PoolingClaims:
    """What the pooling says of itself."""
    return lookup_pooling(spec).claims


@functools.cache
@jax.ensure_compile_time_eval()
def make(spec: str, with_query: bool, *, seed: int = 0) -> Inputs:
    """Returns normal inputs, the arrays as after some training."""
    rng = np.random.default_rng(seed)
    params = pooling_init(spec, jax.random.key(seed), WIDTH, QUERY_WIDTH if with_query else None)
    params = {name: array + 0.1 * rng.normal(size=array.shape).astype("float32") for name, array in params.items()}
    query = jnp.asarray(rng.normal(size=(BATCH, QUERY_WIDTH)), jnp.float32) if with_query else None
    return Inputs(jnp.asarray(rng.normal(size=(BATCH, TOKENS, WIDTH)), jnp.float32), params, query)


def run(spec: str, inputs: Inputs, real: Any = None) -> Pooled:
    """`pool` on these inputs."""
    return pool(inputs.hidden, pooling=spec, params=inputs.params, mask=real, query=inputs.query)


@functools.partial(quick_jit, static_argnames="spec")
def pooled_and_gradients(spec: str, inputs: Inputs, real: Any, weighing: Any) -> tuple[Pooled, Inputs]:
    """What is pooled, and the gradient of <weighing, out> + the sum of what else is reported."""

    def loss(inputs: Inputs) -> tuple[jax.Array, Pooled]:
        pooled = run(spec, inputs, real)
        weight = weighing[:, : pooled.out.shape[1]]
        others = sum(array.astype(weight.dtype).sum() for array in pooled.aux.values())
        return (pooled.out * weight).sum() + others, pooled

    gradients, pooled = jax.grad(loss, has_aux=True)(inputs)
    return pooled, gradients


# To weigh `out` with, whatever its width.
WEIGHING = np.random.default_rng(1).normal(size=(BATCH, 64)).astype(np.float32)
