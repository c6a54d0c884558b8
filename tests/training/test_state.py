"""The state before the first step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attention_jax.training.state import TrainState, create_state, in_float32
from tests.training.parameters import flat
from tests.training.test_step import BATCH, MODEL
from tests.training.test_step_options import careful

INPUTS = {"inputs": jnp.asarray(BATCH["inputs"][:1])}


def shapes(**options: object) -> TrainState:
    return jax.eval_shape(lambda: create_state(MODEL, INPUTS, optax.adam(0.1), seed=0, **options))


def test_counts_start_at_nothing_and_the_average_at_the_parameters():
    state = careful(0)
    counts = (state.step, state.bad_step, state.skipped, state.typical_norm)
    assert [float(count) for count in counts] == [0, -1, 0, 0]
    assert flat(state.average).keys() == flat(state.params).keys()
    for path, leaf in flat(state.average).items():
        np.testing.assert_array_equal(leaf, flat(state.params)[path])
        # Both are donated to a step, which nothing can be twice.
        assert leaf.unsafe_buffer_pointer() != flat(state.params)[path].unsafe_buffer_pointer()


def test_an_average_is_kept_and_evaluated_only_where_it_is_asked_for():
    without, with_average = shapes(), shapes(with_average=True)
    assert without.average == {}
    assert without.variables == {"params": without.params, "buffers": without.buffers}
    assert with_average.variables == {"params": with_average.average, "buffers": with_average.buffers}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parameters_and_what_an_optimizer_keeps_of_them_have_the_dtype_and_the_average_is_float32(dtype):
    state = shapes(param_dtype=dtype, with_average=True)
    kept = {path: leaf.dtype.name for path, leaf in flat(state.opt_state).items() if not path.endswith("count")}
    assert set(kept.values()) == {dtype}
    assert sum(path.endswith("head/kernel") for path in kept) == 2
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state.params)} == {dtype}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state.average)} == {"float32"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state.buffers)} == {"float32"}


def test_narrow_arrays_are_widened_to_float32_and_others_are_left():
    for dtype, wanted in ((jnp.bfloat16, jnp.float32), (jnp.float16, jnp.float32), (jnp.float32, jnp.float32)):
        assert in_float32(jnp.ones(2, dtype)).dtype == wanted
    with jax.enable_x64(True):
        assert in_float32(jnp.ones(2, jnp.float64)).dtype == jnp.float64
