"""How an attention is spread over devices, as `attend_sharded` is told it, and what cannot be spread so."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from jax.sharding import AbstractMesh, Mesh

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.kernels.alignment import Alignment
from attention_jax.kernels.composition import Composition
from attention_jax.kernels.engines import ENGINES
from attention_jax.kernels.mechanism import RowScore, SoftmaxScore
from attention_jax.kernels.problem import Problem
from attention_jax.kernels.registry import Variant

Method = Literal["ring", "all_gather", "all_to_all"]
Order = Literal["contiguous", "zigzag"]
Axes = str | tuple[str, ...] | None


@dataclass(frozen=True)
class Spread:
    """What `attend_sharded` is told of the devices, by the names of its arguments."""

    mesh: Mesh | AbstractMesh
    axis: str | None
    method: Method
    order: Order
    batch_axis: Axes
    head_axis: Axes
    engine: str | None


def size(mesh: Mesh | AbstractMesh, axes: Axes) -> int:
    """Returns how many devices there are along some axes of a mesh."""
    return math.prod(mesh.shape[axis] for axis in _named(axes))


def check_spread(spread: Spread) -> None:
    """Checks the names.

    Raises:
      Refused: there is no such method, order or axis.
    """
    for what, value, known in (("method", spread.method, Method), ("order", spread.order, Order)):
        if value not in get_args(known):
            raise Refused(f"there is no {what} {value!r}.{did_you_mean(str(value), get_args(known))}")
    for name in (*_named(spread.axis), *_named(spread.batch_axis), *_named(spread.head_axis)):
        if name not in spread.mesh.shape:
            raise Refused(f"the mesh has no axis {name!r}; it has {', '.join(map(repr, spread.mesh.shape))}.")


def check_problem(problem: Problem, spread: Spread) -> None:
    """Checks what the caller asks for.

    Raises:
      Refused: shapes do not divide among the devices, or the method cannot honour an argument.
    """
    for why, way_out in _unfit(problem, spread):
        raise Refused(f"{why}: {way_out}.")


def check_part(part: Problem, spread: Spread, *, whole: Variant) -> None:
    """Checks a part of a composition, whose tokens and mechanism the caller did not choose.

    Raises:
      Refused: the method cannot solve the part.
    """
    for why, _ in _unfit(part, spread):
        raise Refused(
            f"method {spread.method} does not take {whole.spec}, whose part {part.variant.spec!r} cannot be spread, "
            f"since {why}: {_elsewhere(whole)}."
        )


def _unfit(problem: Problem, spread: Spread) -> Iterator[tuple[str, str]]:
    """Yields why a problem cannot be spread so, and the way out."""
    for what, count, axes, way_out in (
        ("query tokens", problem.query.shape[1], spread.axis, "pad them"),
        ("key tokens", problem.key.shape[1], spread.axis, "pad them"),
        ("sequences", problem.query.shape[0], spread.batch_axis, "pad them"),
        ("key heads", problem.key.shape[2], spread.head_axis, "leave head_axis out"),
    ):
        if count % (over := size(spread.mesh, axes)):
            yield f"{count} {what} do not divide among {over} devices", way_out
    variant, outputs = problem.variant, problem.outputs
    trades_heads = spread.axis is not None and spread.method == "all_to_all"
    if not variant.claims.heads_apart and (trades_heads or spread.head_axis is not None):
        yield f"the heads of {variant.spec} see each other and cannot be on several devices", _elsewhere(variant)
    takes_no = f"method {spread.method} does not take"
    if problem.bias is not None:
        yield f"{takes_no} a bias", "write it as a score_mod, which any device can compute"
    if "weights" in outputs:
        yield f"{takes_no} weights (outputs)", "no device has them all, so leave them out"
    if problem.state is not None or "state" in outputs:
        yield f"{takes_no} a state", "the sequence is whole, so leave it out"
    if spread.axis is None or trades_heads:
        yield from _unfit_for_heads(problem, spread, takes_no)
    else:
        yield from _unfit_for_tokens(problem, spread, takes_no)


def _unfit_for_heads(problem: Problem, spread: Spread, takes_no: str) -> Iterator[tuple[str, str]]:
    """Of a device that attends with all tokens of its sequences, and with some heads."""
    if spread.order == "zigzag":
        yield f"{takes_no} zig-zag order, since every device has whole sequences", "use contiguous"
    kv_heads, devices = problem.key.shape[2] // size(spread.mesh, spread.head_axis), size(spread.mesh, spread.axis)
    if kv_heads % devices:
        yield f"{takes_no} {kv_heads} key heads on {devices} devices, which do not divide them", "use ring"


def _unfit_for_tokens(problem: Problem, spread: Spread, takes_no: str) -> Iterator[tuple[str, str]]:
    """Of devices that have some tokens each, and exchange keys or states."""
    variant, mechanism = problem.variant, problem.variant.mechanism
    made_of = "blockwise" if isinstance(mechanism, SoftmaxScore) else "recurrence"
    if spread.engine is not None:
        of_kind = "those of its parts" if isinstance(mechanism, Composition) else f"the {made_of} one"
        yield f"{takes_no} engine={spread.engine!r}, since it is made of {of_kind}", "leave it out"
    if isinstance(mechanism, RowScore):
        yield f"{takes_no} {variant.spec}, whose weights are made of all logits of a query", _elsewhere(variant)
    elif isinstance(mechanism, Alignment):
        yield f"{takes_no} {variant.spec}, whose weights depend on those of earlier queries", _elsewhere(variant)
    elif not isinstance(mechanism, Composition) and (why := ENGINES[made_of].refusal(problem)):
        yield f"{takes_no} {variant.spec} here, in the {made_of} engine: {why}", _elsewhere(variant)


def _elsewhere(variant: Variant) -> str:
    """Where a variant can be computed that goes over no parts of sequences."""
    return "use all_to_all" if variant.claims.heads_apart else "spread whole sequences, by batch_axis alone"


def _named(axes: Axes) -> tuple[str, ...]:
    return (axes,) if isinstance(axes, str) else axes or ()
