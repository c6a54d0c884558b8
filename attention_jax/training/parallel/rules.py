"""Where parameters lie on a mesh: a table of (path, axes) rules, held against the parameters that a model has."""

import math
import re
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.layers.paths import block_of, path_of
from attention_jax.layers.spread import AXES

Rule = tuple[str, tuple[Any, ...]]
State = TypeVar("State", bound="_HasParameters")


class _HasParameters(Protocol):
    """A pytree, the parameters of a model among it."""

    @property
    def params(self) -> Any: ...


def parameter_specs(
    params: Any, *, model_rules: Iterable[Rule], rules: Iterable[Rule], mesh: Mesh | AbstractMesh
) -> Any:
    """Returns the `PartitionSpec` of each parameter, a tree like `params`.

    A rule is (regular expression, axes). It is for the parameters whose whole path it matches. Its axes are those of
    the parameter's dimensions from the first, each None, a mesh axis or a tuple of mesh axes; dimensions beyond them
    are whole, and so is the axis of layers that comes before them where layers are scanned over. A parameter without a
    rule is whole where no axis that splits parameters, fsdp or tensor, has several devices.

    Args:
      params: arrays or their shapes, a nested dict.
      model_rules: the model family's table.
      rules: the config's table, which comes before the model's.
      mesh: the devices.

    Raises:
      Refused: a rule is malformed; two of one table disagree about a parameter; a rule of the config is for none; none
        is for a parameter and the mesh splits them; or a parameter's size is not divided by its devices.
    """
    own, table = _checked(rules, mesh), _checked(model_rules, mesh)
    unused = {pattern for pattern, _ in own}
    splits = any(mesh.shape[axis] > 1 for axis in ("fsdp", "tensor"))

    def spec(keys: Any, leaf: Any) -> PartitionSpec:
        path = path_of(keys)
        mine = _matching(own, path)
        unused.difference_update(pattern for pattern, _ in mine)
        chosen = mine or _matching(table, path)
        if not chosen and not splits:
            return PartitionSpec()
        if not chosen:
            raise Refused(
                f"no rule says where parameter {path} {list(leaf.shape)} lies: add one to config.parameter_rules, such "
                f"as (({path!r}, ()),) for whole on every device."
            )
        (pattern, axes), *others = chosen
        for other, disagreeing in others:
            if disagreeing != axes:
                raise Refused(
                    f"parameter {path} has two rules that disagree, {pattern!r} -> {axes} and {other!r} -> "
                    f"{disagreeing}: narrow one of them."
                )
        return _fitting(path, leaf.shape, axes, mesh)

    specs = jax.tree_util.tree_map_with_path(spec, params)
    if unused:
        paths = [path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(params)]
        first = min(unused)
        raise Refused(f"parameter_rules: {first!r} matches no parameter.{did_you_mean(first, paths)}")
    return specs


def state_shardings(state: State, specs: Any, mesh: Mesh | AbstractMesh) -> State:
    """Returns where each array of a state lies: what is of a parameter, as the parameter; everything else whole.

    Args:
      state: of a run (`TrainState`), arrays or their shapes.
      specs: of each parameter, from `parameter_specs`.
      mesh: the devices.
    """
    shapes = {
        tuple(keys): (leaf.shape, spec)
        for (keys, leaf), spec in zip(
            jax.tree_util.tree_leaves_with_path(state.params),
            jax.tree.leaves(specs, is_leaf=lambda x: isinstance(x, PartitionSpec)),
            strict=True,
        )
    }

    def sharding(keys: tuple[Any, ...], leaf: Any) -> NamedSharding:
        # An optimizer's arrays of a parameter end in its path, and those that are factored have another shape.
        of = next((shapes[keys[first:]] for first in range(len(keys)) if keys[first:] in shapes), None)
        return NamedSharding(mesh, of[1] if of is not None and of[0] == leaf.shape else PartitionSpec())

    return jax.tree_util.tree_map_with_path(sharding, state)


def _checked(rules: Iterable[Rule], mesh: Mesh | AbstractMesh) -> list[Rule]:
    if not _is_list(rules):
        raise Refused(f"parameter_rules={rules!r}: give a tuple of rules, such as (('.*/bias', ()),).")
    checked = []
    for rule in rules:
        if not (_is_list(rule) and len(rule) == 2 and isinstance(rule[0], str) and _is_list(rule[1])):
            raise Refused(f"parameter rule {rule!r}: give (regular expression, axes), such as ('.*/bias', ()).")
        pattern, axes = rule
        try:
            re.compile(pattern)
        except re.error as error:
            raise Refused(f"parameter rule {pattern!r} is no regular expression: {error}.") from error
        axes = tuple(tuple(axis) if _is_list(axis) else axis for axis in axes)
        named = [name for axis in axes for name in _names(axis)]
        for name in named:
            if name not in mesh.shape:
                raise Refused(
                    f"parameter rule {pattern!r}: there is no mesh axis {name!r}.{did_you_mean(str(name), AXES)}"
                )
        if len(set(named)) < len(named):
            raise Refused(f"parameter rule {pattern!r} -> {axes} names a mesh axis twice: give each once.")
        checked.append((pattern, axes))
    return checked


def _is_list(value: Any) -> bool:
    return isinstance(value, (tuple, list))


def _matching(rules: list[Rule], path: str) -> list[Rule]:
    return [rule for rule in rules if re.fullmatch(rule[0], path)]


def _fitting(path: str, shape: tuple[int, ...], axes: tuple[Any, ...], mesh: Mesh | AbstractMesh) -> PartitionSpec:
    block = block_of(path)
    if block is not None and block.layer is None:
        axes = (None, *axes)
    if len(axes) > len(shape):
        raise Refused(f"parameter {path} {list(shape)} has {len(shape)} axes and its rule {len(axes)}: {axes}.")
    for size, axis in zip(shape, axes, strict=False):
        split = math.prod(mesh.shape[name] for name in _names(axis))
        if size % split:
            raise Refused(
                f"parameter {path} {list(shape)}: {split} devices of mesh axis {axis!r} do not divide {size}. Change "
                f"the mesh or the model, or give it a rule of its own in config.parameter_rules, such as "
                f"(({path!r}, ()),) for whole on every device."
            )
    return PartitionSpec(*axes)


def _names(axis: Any) -> tuple[Any, ...]:
    """The mesh axes of one dimension."""
    return axis if isinstance(axis, tuple) else () if axis is None else (axis,)
