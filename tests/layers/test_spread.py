"""Models find the mesh that they are traced for, and without one nothing is held anywhere."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

from attention_jax.kernels import attend, attend_sharded
from attention_jax.layers.spread import AXES, gathered, over, spread_attend, spread_tokens

HIDDEN, TABLE = jnp.zeros((4, 8, 3)), jnp.zeros((7, 3))


def mesh(data: int = 1, fsdp: int = 1, tensor: int = 1, sequence: int = 1) -> AbstractMesh:
    return AbstractMesh((data, fsdp, tensor, sequence), AXES, axis_types=(AxisType.Auto,) * 4)


def held(function, array) -> list[P]:
    """Where the function asks for its array to be held."""
    equations = jax.make_jaxpr(function)(array).eqns
    return [each.params["sharding"].spec for each in equations if each.primitive.name == "sharding_constraint"]


def test_without_a_mesh_or_with_one_device_nothing_is_held():
    for of in (None, mesh()):
        with over(of) if of else jax.sharding.use_abstract_mesh(AbstractMesh((), ())):
            assert held(spread_tokens, HIDDEN) == held(gathered, TABLE) == []
            assert spread_attend() is attend


def test_a_mesh_with_other_axes_is_left_to_whom_it_belongs():
    with jax.sharding.use_abstract_mesh(AbstractMesh((4, 2), ("batch", "model"), axis_types=(AxisType.Auto,) * 2)):
        assert held(spread_tokens, HIDDEN) == held(gathered, TABLE) == []
        assert spread_attend() is attend


def test_tokens_lie_over_rows_and_sequence_and_tables_are_gathered():
    with over(mesh(2, 1, 1, 2)):
        assert held(spread_tokens, HIDDEN) == [P(("data", "fsdp"), "sequence")]
        assert held(gathered, TABLE) == [P()]


@pytest.mark.parametrize(
    ("of", "method", "axis", "head_axis"),
    [
        (mesh(data=2), "ring", None, None),
        (mesh(fsdp=2), "all_gather", None, None),
        (mesh(tensor=2), "ring", None, "tensor"),
        (mesh(sequence=2), "all_to_all", "sequence", None),
        (mesh(2, 2, 2, 2), "all_gather", "sequence", "tensor"),
    ],
)
def test_attention_is_spread_over_the_axes_that_have_devices(of, method, axis, head_axis):
    with over(of, attention_parallel=method):
        found = spread_attend()
    assert isinstance(found, partial)
    assert found.func is attend_sharded
    rest = {"batch_axis": ("data", "fsdp"), "head_axis": head_axis, "method": method, "axis": axis}
    assert found.keywords == {"mesh": of, **rest}


def test_the_context_ends_with_its_block_however_it_ends():
    with pytest.raises(ZeroDivisionError), over(mesh(data=2), attention_parallel="all_to_all"):
        raise ZeroDivisionError
    assert spread_attend() is attend
    with over(mesh(data=2)):
        assert spread_attend().keywords["method"] == "ring"
