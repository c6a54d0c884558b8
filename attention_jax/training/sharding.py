"""The devices of a run: a mesh whose axis "data" splits each batch; parameters are whole on every device."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from attention_jax.kernels.errors import Refused


@dataclass(frozen=True)
class MeshSizes:
    """The section `config.mesh`.

    Attributes:
      data: over how many devices a batch is split; -1 takes the most that divide it.
    """

    data: int = -1


def make_mesh(sizes: MeshSizes, *, batch_size: int) -> Mesh:
    """Returns the mesh of a run.

    Args:
      sizes: the size of each axis.
      batch_size: the number of rows that every batch is a multiple of.

    Raises:
      Refused: there are not so many devices, or they do not divide the batch.
    """
    devices = jax.devices()
    count = sizes.data
    if count == -1:
        count = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
    if not 1 <= count <= len(devices):
        raise Refused(f"mesh.data={sizes.data}: there are {len(devices)} devices; give 1 to {len(devices)}, or -1.")
    if batch_size % count:
        raise Refused(
            f"mesh.data={count} does not divide a batch of {batch_size} rows: give a multiple, or mesh.data=-1 for the "
            "most devices that divide it."
        )
    return jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=devices[:count])


def one_step_at_a_time(mesh: Mesh) -> bool:
    """Returns whether a step must end before the next one is dispatched.

    On several CPU devices the queued steps take the worker threads that the other device needs to reach its
    all-reduce: XLA then waits for ever, and aborts the process after 40 s.
    """
    return mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what is whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, Any]:
    """Puts a batch on the devices, its rows split over "data"."""
    return jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
