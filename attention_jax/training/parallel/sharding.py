"""The devices of a run as a mesh, and where each array of a run lies on it."""

import itertools
import math
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from attention_jax.base.errors import Refused
from attention_jax.layers.spread import AXES, ROWS


@dataclass(frozen=True)
class MeshSizes:
    """The section `config.mesh`: over how many devices each axis spreads its work. One of them may be -1.

    Attributes:
      data: copies of the model, each with its part of a batch; -1 takes the most devices that divide the batch.
      fsdp: a batch is split over these too, and parameters and optimizer state lie in parts on them (Rajbhandari et al.
        2020, ZeRO stage 3).
      tensor: heads and feed-forward units are split over these (Shoeybi et al. 2019, Megatron-LM, section 3).
      sequence: tokens are split over these; `config.attention_parallel` says how keys and queries meet.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1
    sequence: int = 1


def make_mesh(sizes: MeshSizes, *, batch_size: int) -> Mesh:
    """Returns the mesh of a run, with the axes data, fsdp, tensor and sequence.

    Args:
      sizes: the size of each axis.
      batch_size: the number of rows that every batch is a multiple of.

    Raises:
      Refused: there are not so many devices, they do not divide the batch, or a process would have none of them.
    """
    devices = jax.devices()
    shape = filled(sizes, devices=len(devices), batch_size=batch_size)
    count = math.prod(shape.values())
    said = in_words(shape)
    if count > len(devices):
        raise Refused(
            f"{said} asks for {count} devices and there are {len(devices)}: give sizes whose product is at most that."
        )
    if jax.process_count() > 1 and count < len(devices):
        raise Refused(
            f"{said} takes {count} of {len(devices)} devices of {jax.process_count()} processes, and each must take "
            "part: give sizes whose product is all of them, and a batch that they divide."
        )
    rows = shape["data"] * shape["fsdp"]
    if batch_size % rows:
        raise Refused(
            f"{said} does not divide a batch of {batch_size} rows: give a multiple of {rows}, or mesh.data=-1 for the "
            "most devices that divide it."
        )
    return jax.make_mesh(tuple(shape.values()), AXES, axis_types=(AxisType.Auto,) * 4, devices=devices[:count])


def filled(wanted: MeshSizes, *, devices: int, batch_size: int) -> dict[str, int]:
    """Returns the size of each axis, where one that is -1 takes the devices that the others leave.

    Args:
      wanted: the size of each axis.
      devices: how many there are; the sizes may ask for more.
      batch_size: the number of rows that every batch is a multiple of.

    Raises:
      Refused: a size is neither -1 nor at least 1, or several are -1.
    """
    sizes = asdict(wanted)
    for axis, size in sizes.items():
        if size < 1 and size != -1:
            raise Refused(f"mesh.{axis}={size}: there are {devices} devices; give 1 to {devices}, or -1.")
    open_axes = [axis for axis, size in sizes.items() if size == -1]
    if len(open_axes) > 1:
        raise Refused(f"mesh.{' and mesh.'.join(open_axes)} are -1, and one axis alone can be filled: give the others.")
    if not open_axes:
        return sizes
    (axis,) = open_axes
    given = math.prod(size for size in sizes.values() if size != -1)
    left = max(devices // given, 1)
    if axis == "data":
        # A batch of 13 on 2 cores runs on one of them, and that is no mistake.
        left = max(n for n in range(1, left + 1) if n == 1 or batch_size % (n * sizes["fsdp"]) == 0)
    return {**sizes, axis: left}


def in_words(shape: dict[str, int]) -> str:
    """Returns the sizes of a mesh as "mesh.data=2 x mesh.tensor=4"."""
    return " x ".join(f"mesh.{axis}={size}" for axis, size in shape.items() if size > 1) or "mesh.data=1"


def one_step_at_a_time(mesh: Mesh) -> bool:
    """Returns whether a step must end before the next one is dispatched.

    On several CPU devices the queued steps take the worker threads that the other device needs to reach its
    all-reduce: XLA then waits for ever, and aborts the process after 40 s.
    """
    return mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what is whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_rows(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: its rows over "data" and "fsdp"."""
    return NamedSharding(mesh, PartitionSpec(ROWS))


def rows_of_process(mesh: Mesh, batch_size: int) -> slice:
    """Returns which rows of every batch the devices of this process need; they follow one another.

    Raises:
      Refused: they do not follow one another, since the mesh winds through the processes.
    """
    places = by_rows(mesh).addressable_devices_indices_map((batch_size,)).values()
    bounds = sorted({part[0].indices(batch_size)[:2] for part in places if part is not None})
    if any(end != start for (_, end), (start, _) in itertools.pairwise(bounds)):
        raise Refused(
            "the rows of a batch that this process needs do not follow one another: give mesh.tensor and mesh.sequence "
            "sizes that divide the devices of a process."
        )
    return slice(bounds[0][0], bounds[-1][1])


def split_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, Any]:
    """Puts a batch on the devices, its rows split.

    Args:
      mesh: the devices.
      batch: named arrays; with several processes, the rows of this one (`rows_of_process`).
    """
    if mesh.size == 1 and mesh.devices.flat[0].platform == "cpu":
        # A compiled step takes NumPy's arrays as they are, in a third of the time of a copy.
        return batch
    if jax.process_count() == 1:
        return jax.device_put(batch, by_rows(mesh))
    return {name: jax.make_array_from_process_local_data(by_rows(mesh), rows) for name, rows in batch.items()}
