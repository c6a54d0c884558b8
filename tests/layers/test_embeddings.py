"""Embeddings: rows of a table, looked up by token and added by position, wherever the table lies."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType

from attention_jax.kernels import Refused
from attention_jax.layers import PositionEmbedding, TokenEmbedding
from attention_jax.layers.defaults import normal
from attention_jax.layers.spread import AXES, over

RNG = np.random.default_rng(0)
TOKENS = jnp.asarray(RNG.integers(5, size=(2, 4)), jnp.int32)
TABLE = RNG.normal(size=(5, 3)).astype(np.float32)
HIDDEN = RNG.normal(size=(2, 4, 3)).astype(np.float32)
TOKEN_VARIABLES = {"params": {"embedding": TABLE}}


def test_tokens_are_looked_up_and_attended_to_as_in_flax():
    ours, flax = TokenEmbedding(5, 3), nn.Embed(5, 3)
    for method, inputs in (("__call__", TOKENS), ("attend", HIDDEN)):
        found = ours.apply(TOKEN_VARIABLES, inputs, method=method)
        np.testing.assert_array_equal(found, flax.apply(TOKEN_VARIABLES, inputs, method=method))
    drawn, of_flax = (model.init(jax.random.key(0), TOKENS) for model in (ours, flax))
    np.testing.assert_array_equal(drawn["params"]["embedding"], of_flax["params"]["embedding"])


def test_tokens_that_share_a_place_are_added_up():
    pairs = jnp.stack([TOKENS, TOKENS[:, ::-1]], axis=2)
    found = TokenEmbedding(5, 3).apply(TOKEN_VARIABLES, pairs)
    np.testing.assert_array_equal(found, TABLE[TOKENS] + TABLE[TOKENS[:, ::-1]])


def test_positions_add_their_rows_from_the_first():
    module = PositionEmbedding("learned", 5, normal())
    variables = TOKEN_VARIABLES
    np.testing.assert_array_equal(module.apply(variables, HIDDEN), HIDDEN + TABLE[:4])
    # Two documents in a row, and a place before and one behind the table.
    positions = np.array([[0, 1, 0, 1], [4, -1, 5, 2]])
    found = np.asarray(jax.jit(module.apply)(variables, HIDDEN, positions=jnp.asarray(positions)))
    absent = (positions < 0) | (positions > 4)
    np.testing.assert_array_equal(np.isnan(found).all(-1), absent)
    np.testing.assert_array_equal(found[~absent], HIDDEN[~absent] + TABLE[positions[~absent]])


def test_more_tokens_than_positions_are_refused():
    with pytest.raises(Refused, match=r"^4 tokens are more than the 3 positions of the model: shorten the input"):
        PositionEmbedding("learned", 3, normal()).init(jax.random.key(0), HIDDEN)


@pytest.mark.parametrize(("devices", "held"), [(1, 0), (2, 1)])
def test_a_table_is_gathered_where_it_may_lie_in_parts(devices, held):
    mesh = AbstractMesh((1, devices, 1, 1), AXES, axis_types=(AxisType.Auto,) * 4)
    of_positions = PositionEmbedding("learned", 5, normal())
    for module, inputs in ((TokenEmbedding(5, 3), TOKENS), (of_positions, HIDDEN)):
        with over(mesh):
            program = jax.make_jaxpr(module.apply)(TOKEN_VARIABLES, inputs)
        assert str(program).count("sharding_constraint[") == held
