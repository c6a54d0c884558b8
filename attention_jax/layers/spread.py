"""How a model's arrays lie on a mesh while it is traced: rows over "data" and "fsdp", heads over "tensor", tokens over
"sequence".

Layers find the mesh at hand, so that a model is written for one device and runs on many.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import jax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from attention_jax.kernels import AttentionOutput, attend, attend_sharded
from attention_jax.kernels.parallel import Method

ROWS = ("data", "fsdp")
TENSOR = "tensor"
SEQUENCE = "sequence"
AXES = (*ROWS, TENSOR, SEQUENCE)

_method: ContextVar[Method] = ContextVar("how keys and queries meet", default="ring")


@contextmanager
def over(mesh: Mesh, *, attention_parallel: Method = "ring") -> Iterator[None]:
    """Within the context, models are traced for a mesh.

    Args:
      mesh: the devices, its axes those of `AXES`.
      attention_parallel: how keys and queries meet when "sequence" spreads the tokens: see `attend_sharded`.
    """
    token = _method.set(attention_parallel)
    try:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            yield
    finally:
        _method.reset(token)


def spread_tokens(hidden: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    """Holds the tokens of a mesh's rows and sequences where they belong; does nothing without a mesh.

    Left to itself, XLA may move the tokens to the parameters, and compute every row on every device.
    """
    if _devices() == 1:
        return hidden
    return jax.lax.with_sharding_constraint(hidden, PartitionSpec(ROWS, SEQUENCE))


def gathered(table: Float[Array, "V D"]) -> Float[Array, "V D"]:
    """Gathers a table before its rows are looked up; does nothing without a mesh.

    Left to itself, XLA looks up parts of rows for the whole batch and gathers those on every device.
    """
    return table if _devices() == 1 else jax.lax.with_sharding_constraint(table, PartitionSpec())


def spread_attend(heads: int | None = None) -> Callable[..., AttentionOutput]:
    """Returns `attend` for the mesh at hand: each device on its own rows, heads and tokens.

    Left to XLA, an engine that loops over rows and heads gathers them all on every device.

    Args:
      heads: how many there are; one alone is not split. None: several.
    """
    if _devices() == 1:
        return attend
    mesh = jax.sharding.get_abstract_mesh()
    return partial(
        attend_sharded,
        mesh=mesh,
        axis=SEQUENCE if mesh.shape[SEQUENCE] > 1 else None,
        method=_method.get(),
        batch_axis=ROWS,
        head_axis=TENSOR if mesh.shape[TENSOR] > 1 and heads != 1 else None,
    )


def on_one_device() -> bool:
    """Returns whether there is no mesh at hand, or one of a single device."""
    return _devices() == 1


def _devices() -> int:
    """The devices of the mesh at hand; a mesh with other axes is a user's own, who spreads what he calls."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.size if set(AXES) <= set(mesh.shape) else 1
