"""Weights that a run starts from: read from another run or a file, renamed, and held against those of the model."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.layers.paths import path_of
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.sections import Init
from attention_jax.training.state import TrainState

Weights = dict[str, np.ndarray]
# How many of the arrays that do not fit a message names.
_NAMED = 4


def fitting_weights(init: Init, state: TrainState, *, say: Callable[[str], None]) -> Weights:
    """Returns the arrays of `init.source` for a model, by the path of what each stands for.

    Args:
      init: the section, with a source.
      state: arrays or their shapes.
      say: told of damaged checkpoints.

    Raises:
      Refused: the source is not there or cannot be read; a pattern matches nothing; or an array of the model is not in
        it or of another shape, or one of it is not of the model.
    """
    assert init.source is not None
    source = Path(init.source)
    found = _of_file(source) if source.suffix == ".safetensors" else _of_run(source, say=say)
    weights = _renamed(found, init)
    wanted = {path_of(keys): leaf for keys, leaf in _leaves(_collections(state))}
    skipped = _skipped(wanted, init)
    problems = [
        problem
        for path in sorted({*wanted, *weights} - skipped)
        if (problem := problem_of(path, weights.get(path), wanted.get(path)))
    ]
    if problems:
        more = f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise Refused(
            f"init.source={init.source!r} does not fit the model: {', '.join(problems[:_NAMED])}{more}. Say with "
            "init.rename which is which ('' leaves one out), or with init.skip which stay as drawn."
        )
    return {path: array for path, array in weights.items() if path in wanted and path not in skipped}


def with_weights(state: TrainState, weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the collections of a state by field, with these arrays by path, each in its place on the devices."""

    def placed(keys: Any, leaf: jax.Array) -> jax.Array:
        array = weights.get(path_of(keys))
        if array is None:
            return leaf
        return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda part: array[part].astype(leaf.dtype))

    collections = jax.tree_util.tree_map_with_path(placed, _collections(state))
    fields = {"buffers": collections.pop("buffers"), "mutable": {name: collections.pop(name) for name in state.mutable}}
    return {"params": collections, **fields}


def _collections(state: TrainState) -> dict[str, Any]:
    """Returns the collections in one tree, whose paths are those of the arrays."""
    return {**state.params, "buffers": state.buffers, **state.mutable}


def _leaves(tree: Any) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(tree)


def _of_run(folder: Path, *, say: Callable[[str], None]) -> Weights:
    """Returns the weights of a run, of the checkpoint that its score is of, by path."""
    checkpoints = Checkpoints(folder, keep=1, say=say, read_only=True)
    try:
        steps = checkpoints.steps()
        if not steps:
            raise Refused(
                f"init.source={str(folder)!r} is no .safetensors file and no folder of a run with a whole checkpoint: "
                "give one of the two."
            )
        found = variables_of(checkpoints, scored_step(folder, steps))
    finally:
        checkpoints.close()
    return {path_of(keys): array for keys, array in _leaves({**found.pop("params"), **found})}


def scored_step(workdir: Path, steps: Sequence[int]) -> int:
    """Returns which of the steps of a run's whole checkpoints its score is of; the last, where that is not there."""
    outcome = workdir / "outcome.json"
    scored = json.loads(outcome.read_text())["score_step"] if outcome.exists() else steps[-1]
    return int(scored) if scored in steps else steps[-1]


def variables_of(checkpoints: Checkpoints, step: int) -> dict[str, Any]:
    """Returns what the model of a checkpoint is evaluated with, as `TrainState.variables`, in NumPy arrays.

    Raises:
      Refused: it cannot be read.
    """
    parts = checkpoints.arrays(step, ("params", "average", "buffers", "mutable"))
    params = parts["average"] or parts["params"]
    return {"params": params, "buffers": parts["buffers"], **parts.get("mutable", {})}


def _of_file(file: Path) -> Weights:
    try:
        arrays = load_file(file)
    except (OSError, SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition("\n")[0]
        raise Refused(f"init.source={str(file)!r} cannot be read ({why}): give a file that can.") from error
    return {name if "/" in name else name.replace(".", "/"): array for name, array in arrays.items()}


def _renamed(weights: Weights, init: Init) -> Weights:
    for pattern, replacement in init.rename:
        found = {path: match for path in weights if (match := re.fullmatch(pattern, path))}
        if not found:
            raise Refused(f"init.rename: {pattern!r} matches no array of the source.{did_you_mean(pattern, weights)}")
        moved: Weights = {}
        for path, array in weights.items():
            try:
                name = found[path].expand(replacement) if path in found else path
            except (re.error, IndexError) as error:
                raise Refused(f"init.rename: {replacement!r} is no replacement of {pattern!r}: {error}.") from error
            if name in moved:
                raise Refused(f"init.rename: with {pattern!r} two arrays of the source are called {name}: narrow it.")
            if name:
                moved[name] = array
        weights = moved
    return weights


def _skipped(wanted: Mapping[str, Any], init: Init) -> set[str]:
    skipped = set()
    for pattern in init.skip:
        matched = {path for path in wanted if re.fullmatch(pattern, path)}
        if not matched:
            raise Refused(f"init.skip: {pattern!r} matches no array of the model.{did_you_mean(pattern, wanted)}")
        skipped |= matched
    return skipped


def problem_of(path: str, there: np.ndarray | None, here: Any) -> str | None:
    """Returns why an array of weights ("there") cannot be that of the model ("here"), or None."""
    if there is None:
        return f"{path} {list(here.shape)} is only here"
    if here is None:
        return f"{path} {list(there.shape)} is only there"
    if there.shape != here.shape:
        return f"{path} is {list(there.shape)} there and {list(here.shape)} here"
    # A quantised array is no weight until it is scaled.
    if jnp.issubdtype(there.dtype, jnp.floating) != jnp.issubdtype(here.dtype, jnp.floating):
        return f"{path} is {there.dtype} there and {here.dtype} here"
    return None
