"""The mesh that a cell of a study is trained on."""

import math
from collections.abc import Mapping
from typing import Any

from attention_jax.base.errors import Refused
from attention_jax.training.experiment import common_rows
from attention_jax.training.parallel.sharding import MeshSizes, filled, in_words
from attention_jax.training.sections import section


def placed(config: Mapping[str, Any], devices: int) -> dict[str, Any]:
    """Returns the config of a cell with the size of every axis of its mesh, which takes all devices of the cell.

    On one device `mesh.data` is 1 whatever the config says, so that what is computed does not depend on how many
    devices there are.

    Args:
      config: the keyword arguments of `Experiment`.
      devices: how many a cell has.

    Raises:
      Refused: the mesh takes fewer devices, or more.
    """
    given = {**(config.get("mesh") or {}), **({"data": 1} if devices == 1 else {})}
    sizes: MeshSizes = section("mesh", given)
    # Of parts that cannot be, the experiment says why.
    rows = common_rows(
        config["batch_size"],
        max(1, config.get("accumulation", 1)),
        (config.get("evaluation") or {}).get("batch_size"),
    )
    shape = filled(sizes, devices=devices, batch_size=rows)
    if (count := math.prod(shape.values())) != devices:
        raise Refused(
            f"--devices_per_cell={devices}: {in_words(shape)} takes {count}: give mesh sizes whose product is "
            f"{devices} and a batch that they divide, or --devices_per_cell={count}."
        )
    return {**config, "mesh": shape}
