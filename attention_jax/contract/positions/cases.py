"""What the tests of position encodings share: one spec for each, one set of inputs, positions, and one program."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.contract.cases import Inputs, quick_jit
from attention_jax.contract.chosen import chosen_specs
from attention_jax.kernels import AttentionOutput, Causal, Padding, PositionClaims, Segments, Sizes, attend, init
from attention_jax.kernels.engines import blockwise
from attention_jax.kernels.engines.tiling import TileSizes
from attention_jax.kernels.position import POSITIONS, lookup_position

SPECS = chosen_specs(POSITIONS)
OF_LOGITS = [spec for spec in SPECS if lookup_position(spec).made.encode is not None]
OF_TOKENS = [spec for spec in SPECS if lookup_position(spec).made.embed is not None]

BATCH, TOKENS, WIDTH = 2, 7, 8
# Out of order, with gaps, another for each sequence.
POSITIONS_GIVEN = np.array([[3, 0, 11, 5, 6, 2, 9], [0, 1, 2, 3, 4, 5, 6]])
MASKS = {
    "none": None,
    "causal": Causal(),
    "causal&padding": Causal() & Padding(np.array([7, 4])),
    "segments": Segments(np.array([[0, 0, 0, 1, 1, 1, 1]])),
}


def claims(spec: str) -> PositionClaims:
    """What the position encoding says of itself."""
    return lookup_position(spec).claims


@functools.cache
@jax.ensure_compile_time_eval()
def make(spec: str | None, *, heads: int = 4, kv_heads: int = 2, seed: int = 0) -> Inputs:
    """Returns normal inputs for scaled_dot with the encoding, its arrays as after some training."""
    rng = np.random.default_rng(seed)
    shapes = ((heads, WIDTH), (kv_heads, WIDTH), (kv_heads, 5))
    query, key, value = (jnp.asarray(rng.normal(size=(BATCH, TOKENS, *shape)), jnp.float32) for shape in shapes)
    sizes = Sizes(heads, kv_heads, WIDTH, WIDTH, 5, length=TOKENS)
    trained, drawn = init("scaled_dot", jax.random.key(seed), sizes, spec)
    trained = {name: array + 0.1 * rng.normal(size=array.shape).astype("float32") for name, array in trained.items()}
    return Inputs(query, key, value, trained | drawn)


def run(spec: str | None, inputs: Inputs, **arguments: Any) -> AttentionOutput:
    """`attend` by scaled_dot with the encoding."""
    return attend(inputs.query, inputs.key, inputs.value, params=inputs.params, position_encoding=spec, **arguments)


@functools.partial(quick_jit, static_argnames=("spec", "engine"))
def run_compiled(spec: str | None, inputs: Inputs, *, engine: str | None = None, **arguments: Any) -> AttentionOutput:
    """`run` as one program, which every later call with arguments of these shapes shares."""
    return run(spec, inputs, engine=engine, **arguments)


@functools.partial(quick_jit, static_argnames=("spec", "engine"))
def out_and_gradients(spec: str, inputs: Inputs, engine: str, **arguments: Any) -> tuple[jax.Array, Inputs]:
    """`out`, and the gradient of <weighing, out>."""

    def loss(inputs: Inputs) -> tuple[jax.Array, jax.Array]:
        out = run(spec, inputs, engine=engine, **arguments).out
        return (out * jnp.asarray(WEIGHING[:, :, : out.shape[2]], out.dtype)).sum(), out

    gradients, out = jax.grad(loss, has_aux=True)(inputs)
    return out, gradients


WEIGHING = np.random.default_rng(1).normal(size=(BATCH, TOKENS, 4, 5)).astype(np.float32)


def in_tiles_of_two(problem: Any) -> AttentionOutput:
    """The blockwise engine with so small tiles that seven tokens make several."""
    return blockwise.solve(problem, TileSizes(2, 3))
