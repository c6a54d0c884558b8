"""Cross-attention in steps: several continuations of one sequence, each as if it were alone with its memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.contract.cases import quick_jit
from attention_jax.kernels import Padding, Refused, init
from attention_jax.kernels.arrays import Sizes
from attention_jax.kernels.steps import Fixed, Fresh
from attention_jax.layers.memory import Memory, attend_memory

RNG = np.random.default_rng(0)
BATCH, CONTINUATIONS, KEYS = 2, 3, 5
SIZES = Sizes(heads=4, kv_heads=4, query=6, key=6, value=6, length=KEYS)


def drawn(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


KEY, VALUE = drawn(BATCH, KEYS, 4, 6), drawn(BATCH, KEYS, 4, 6)
QUERIES = drawn(2, BATCH * CONTINUATIONS, 1, 4, 6)
LENGTHS = jnp.array([[1, 1, 1, 1, 0, 1], [1, 0, 1, 1, 1, 1]])


@pytest.mark.parametrize("variant", ["scaled_dot", "monotonic:hidden=3"])
def test_continuations_share_a_memory_as_if_each_had_its_own(variant):
    trained, fixed = init(variant, jax.random.key(0), SIZES)
    real = jnp.array([5, 3])

    @quick_jit
    def steps(key, value, real):
        given = {"variant": variant, "params": {**trained, **fixed}, "mask": Padding(real), "engine": None}
        # The first step has a row for each memory, as that over a prompt has; all continuations go on from it.
        rows = len(key)
        of_row = jnp.repeat(QUERIES[0, ::CONTINUATIONS], rows // BATCH, axis=0)
        _, state = attend_memory(of_row, key, value, Fresh(4), lengths=jnp.ones(rows, int), **given)
        repeats = BATCH * CONTINUATIONS // rows
        state = Memory(state.prepared, jax.tree.map(lambda leaf: jnp.repeat(leaf, repeats, axis=0), state.alignment))
        outs = []
        for query, lengths in zip(QUERIES, LENGTHS, strict=True):
            out, state = attend_memory(query, key, value, state, lengths=lengths, **given)
            outs.append(out)
        return jnp.stack(outs), state

    shared, state = steps(KEY, VALUE, real)
    apart, _ = steps(*(jnp.repeat(array, CONTINUATIONS, axis=0) for array in (KEY, VALUE, real)))
    there = np.asarray(LENGTHS, bool)
    np.testing.assert_allclose(np.asarray(shared)[there], np.asarray(apart)[there], rtol=1e-5, atol=1e-6)
    assert isinstance(state.prepared, Fixed)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(state.prepared)} == {BATCH}
    assert {leaf.shape[0] for leaf in jax.tree.leaves(state.alignment)} <= {BATCH * CONTINUATIONS}


def test_an_engine_that_cannot_is_refused_in_steps_as_in_a_whole_pass():
    facts = {"vocabulary_size": 7, "source_length": 5, "target_length": 4, "begin": 1, "end": 2}
    stack = {"num_layers": 1, "num_heads": 2, "width": 8}
    # The layer's own attention can, the one of the memory cannot.
    decoder = {**stack, "attention": "linear", "cross_attention": "scaled_dot", "engine": "recurrence"}
    model = models.build("transformer", facts=facts, encoder=stack, decoder=decoder)
    source = jnp.ones((2, 5), int)
    whole = {"source": source, "inputs": jnp.ones((2, 3), int)}
    for arguments in (whole, {"source": source, "method": "start"}):
        with pytest.raises(Refused, match=r"recurrence.*features of the query and of the key"):
            jax.eval_shape(lambda arguments=arguments: model.init(jax.random.key(0), **arguments))
