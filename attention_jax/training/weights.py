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
from attention_jax.interop.word_vectors import read_word_vectors
from attention_jax.layers.paths import path_of
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.sections import Init
from attention_jax.training.state import TrainState

Weights = dict[str, np.ndarray]
# How many of the arrays that do not fit a message names.
_NAMED = 4


def fitting_weights(
    init: Init, state: TrainState, *, vocabulary: Sequence[str] | None = None, say: Callable[[str], None]
) -> Weights:
    """Returns the arrays of `init.source` and of `init.vectors` for a model, by the path of what each stands for.

    Args:
      init: the section, with one of the two.
      state: arrays or their shapes.
      vocabulary: what each token of the data set stands for; None where they stand for no text.
      say: told of damaged checkpoints, and of how many words have a vector.

    Returns:
      The arrays; of a masked one, what is masked stays as it was drawn.

    Raises:
      Refused: a file is not there or cannot be read; a pattern matches nothing; or an array of the model is not in the
        source or of another shape, or one of it is not of the model; or the vectors are of no word of the vocabulary,
        or of another width than the table.
    """
    weights = {} if init.source is None else _of_source(init, Path(init.source), state, say=say)
    if init.vectors is None:
        return weights
    drawn = np.ma.masked_all(_table(init, state, vocabulary).shape, np.float32)
    table = np.ma.array(weights.get(init.table, drawn), keep_mask=True)
    return {**weights, init.table: _with_words(table, init, vocabulary or (), say=say)}


def _table(init: Init, state: TrainState, vocabulary: Sequence[str] | None) -> Any:
    """Returns the shape of the table that word vectors are for, in an array or its like."""
    wanted = {path_of(keys): leaf for keys, leaf in _leaves(_collections(state))}
    if init.table not in wanted:
        raise Refused(f"init.table={init.table!r} is no array of the model.{did_you_mean(init.table, wanted)}")
    if vocabulary is None:
        raise Refused(
            f"init.vectors={init.vectors!r} is of words, and the tokens of this data set are none: leave it out."
        )
    leaf = wanted[init.table]
    if len(leaf.shape) != 2 or leaf.shape[0] != len(vocabulary):
        raise Refused(
            f"init.table={init.table!r} is {list(leaf.shape)}, and a row for each of the {len(vocabulary)} tokens is "
            "needed: name the table of the tokens."
        )
    return leaf


def _with_words(
    table: np.ma.MaskedArray, init: Init, vocabulary: Sequence[str], *, say: Callable[[str], None]
) -> np.ma.MaskedArray:
    """Returns a table [V, D] with the vectors of the words that a file has."""
    words, vectors = read_word_vectors(Path(str(init.vectors)))
    if vectors.shape[1] != table.shape[1]:
        raise Refused(
            f"init.vectors={init.vectors!r} has {vectors.shape[1]} dimensions and {init.table} {table.shape[1]}: give "
            f"the model a width of {vectors.shape[1]}."
        )
    row_of = {word: row for row, word in enumerate(words)}
    found = [(token, row_of[word]) for token, word in enumerate(vocabulary) if word in row_of]
    if not found:
        raise Refused(
            f"init.vectors={init.vectors!r} has none of the {len(vocabulary)} words of the vocabulary, such as "
            f"{vocabulary[-1]!r}: give vectors of such words."
        )
    tokens, rows = np.array(found).T
    table[tokens] = vectors[rows]
    say(f"{len(found)} of the {len(vocabulary)} tokens have a vector in {init.vectors}")
    return table


def _of_source(init: Init, source: Path, state: TrainState, *, say: Callable[[str], None]) -> Weights:
    """Returns the arrays of the source for a model; raises as `fitting_weights`."""
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
        given = jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda part: _filled(array[part], leaf.dtype))
        if not np.ma.is_masked(array):
            return given
        stays = jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda part: np.ma.getmaskarray(array)[part])
        return jnp.where(stays, leaf, given)

    collections = jax.tree_util.tree_map_with_path(placed, _collections(state))
    fields = {"buffers": collections.pop("buffers"), "mutable": {name: collections.pop(name) for name in state.mutable}}
    return {"params": collections, **fields}


def _filled(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Returns an array of a dtype, 0 where it is masked."""
    return np.ma.filled(array, 0).astype(dtype)


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
