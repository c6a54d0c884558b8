"""What the tests of pairs share: one spec for each, one set of inputs, one program."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.contract.cases import quick_jit
from attention_jax.contract.chosen import chosen_specs
from attention_jax.kernels.attend_pair import PAIRS, PairClaims, Paired, attend_pair, lookup_pair, pair_init

SPECS = chosen_specs(PAIRS)
# Padding behind; none; the first empty; the second empty; padding before, between and behind.
FIRST = np.array([[1, 1, 1, 1, 0, 0], [1] * 6, [0] * 6, [1] * 6, [0, 1, 1, 0, 1, 0]], bool)
SECOND = np.array([[1, 1, 1, 0, 0], [1] * 5, [1] * 5, [0] * 5, [1, 0, 1, 1, 0]], bool)
REAL = FIRST, SECOND
EMPTY = np.array([0, 0, 1, 1, 0], bool)
WIDTH = 4


class Inputs(NamedTuple):
    """What is differentiated.

    Attributes:
      first: [B, T, D].
      second: [B, S, D].
      params: the pair's arrays by name.
    """

    first: jax.Array
    second: jax.Array
    params: dict[str, jax.Array]


def claims(spec: str) -> PairClaims:
    """What the pair says of itself."""
    return lookup_pair(spec).claims


@functools.cache
@jax.ensure_compile_time_eval()
def make(spec: str, *, seed: int = 0) -> Inputs:
    """Returns normal inputs, the arrays as after some training and long enough for 8 places."""
    rng = np.random.default_rng(seed)
    params = pair_init(spec, jax.random.key(seed), WIDTH, length=8)
    params = {name: array + 0.1 * rng.normal(size=array.shape).astype("float32") for name, array in params.items()}
    first, second = (jnp.asarray(rng.normal(size=(*real.shape, WIDTH)), jnp.float32) for real in REAL)
    return Inputs(first, second, params)


def run(spec: str, inputs: Inputs, first: Any = None, second: Any = None) -> Paired:
    """`attend_pair` on these inputs."""
    masks = {"first_mask": first, "second_mask": second}
    return attend_pair(inputs.first, inputs.second, pair=spec, params=inputs.params, **masks)


@functools.partial(quick_jit, static_argnames="spec")
def paired_and_gradients(spec: str, inputs: Inputs, real: Any, weighing: Any) -> tuple[Paired, Inputs]:
    """What both get, and the gradient of what it is weighed by."""

    def loss(inputs: Inputs) -> tuple[jax.Array, Paired]:
        paired = run(spec, inputs, *real)
        return total(paired, weighing), paired

    gradients, paired = jax.grad(loss, has_aux=True)(inputs)
    return paired, gradients


def total(paired: Paired, weighing: Any) -> jax.Array:
    """<weighing, first and second>, one number of `weighing` for each number of a sequence."""
    both = jnp.concatenate([array.reshape(array.shape[0], -1) for array in (paired.first, paired.second)], axis=1)
    return (both * weighing[:, : both.shape[1]].astype(both.dtype)).sum()


WEIGHING = np.random.default_rng(1).normal(size=(len(FIRST), 256)).astype(np.float32)


def places(result: Any, real: Any, tokens: int) -> np.ndarray:
    """The places of a result that are of real tokens: all of a vector, else those that a result of them alone has."""
    result = np.asarray(result)
    if result.ndim == 1:
        return result
    if result.shape[0] == tokens:
        return result[real]
    return result[: real.sum() - (tokens - result.shape[0])]
