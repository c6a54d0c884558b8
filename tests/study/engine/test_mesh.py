"""The mesh of a cell: on one device, filled, and what does not fit."""

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.engine.mesh import placed


def config(mesh: dict | None = None, **changes: object) -> dict:
    return {"batch_size": 16, "evaluation": {"every": 10}, "mesh": mesh, **changes}


def test_on_one_device_the_rows_are_on_it_whatever_the_config_says():
    one = {"data": 1, "fsdp": 1, "tensor": 1, "sequence": 1}
    assert placed(config(), 1)["mesh"] == one
    assert placed(config({"data": 8}), 1)["mesh"] == one
    assert placed(config(), 1)["evaluation"] == {"every": 10}


@pytest.mark.parametrize(
    ("mesh", "devices", "sizes"),
    [
        (None, 4, (4, 1, 1, 1)),
        ({"data": 2, "tensor": 2}, 4, (2, 1, 2, 1)),
        ({"tensor": 2}, 8, (4, 1, 2, 1)),
        ({"data": 1, "fsdp": -1}, 2, (1, 2, 1, 1)),
    ],
)
def test_on_several_every_axis_has_its_size(mesh, devices, sizes):
    assert tuple(placed(config(mesh), devices)["mesh"].values()) == sizes


@pytest.mark.parametrize(
    ("changes", "devices", "said"),
    [
        ({"mesh": {"tensor": 2}}, 1, "--devices_per_cell=1: mesh.tensor=2 takes 2: give mesh sizes"),
        ({"mesh": {"data": 2}}, 4, "--devices_per_cell=4: mesh.data=2 takes 2: give mesh sizes whose product is 4"),
        ({"mesh": {"data": 2, "fsdp": 4}}, 4, "mesh.data=2 x mesh.fsdp=4 takes 8"),
        ({"batch_size": 13}, 4, "mesh.data=1 takes 1"),
        ({"accumulation": 8}, 4, "mesh.data=2 takes 2"),
        ({"evaluation": {"batch_size": 6}}, 4, "mesh.data=2 takes 2"),
        ({"mesh": {"tensro": 2}}, 4, "Did you mean 'tensor'?"),
    ],
)
def test_a_mesh_that_does_not_take_all_devices_is_refused(changes, devices, said):
    with pytest.raises(Refused) as refusal:
        placed(config(**changes), devices)
    assert said in str(refusal.value)
