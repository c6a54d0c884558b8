"""Which parameters learn, and how fast, by their paths: freezing, layer-wise rates, decay of the rate with depth.

A pattern is a regular expression that matches the whole path of a parameter (layers/paths.py), by `re.fullmatch`:
"block_0/.*" is all of the first block.
"""

import difflib
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attention_jax.base.errors import Refused
from attention_jax.layers.paths import block_of, path_of

_EMBEDDING = re.compile(r"(.*/)?(token|position|patch|\w+_token|embedding\w*)(/.*)?")


def check_freeze(freeze: Any) -> None:
    """Checks `optimizer.freeze` before the parameters are known.

    Raises:
      Refused: it is no tuple of patterns.
    """
    if not isinstance(freeze, (tuple, list)) or not all(isinstance(pattern, str) for pattern in freeze):
        raise Refused(f"optimizer.freeze={freeze!r}: give a tuple of patterns of paths, such as ('token/.*',).")
    for pattern in freeze:
        _check_pattern("freeze", pattern)


def check_rates(rates: Any, layer_decay: float) -> None:
    """Checks `optimizer.rates` and `optimizer.layer_decay` before the parameters are known.

    Raises:
      Refused: the rates are no tuple of (pattern, multiplier), or a number cannot be used.
    """
    if not 0 < layer_decay <= 1:
        raise Refused(f"optimizer.layer_decay={layer_decay}: give a number above 0 and at most 1, which is no decay.")
    pairs = isinstance(rates, (tuple, list)) and all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in rates
    )
    if not pairs or not all(isinstance(name, str) and isinstance(by, (int, float)) for name, by in rates):
        raise Refused(
            f"optimizer.rates={rates!r}: give a tuple of (pattern of paths, multiplier), such as (('token/.*', 0.1),)."
        )
    for pattern, multiplier in rates:
        _check_pattern("rates", pattern)
        if not 0 < multiplier < math.inf:
            raise Refused(
                f"optimizer.rates: the multiplier {multiplier} of {pattern!r} is not above 0 and finite: give one that "
                "is, or keep these parameters as they are with optimizer.freeze."
            )


def freezing(optimizer: optax.GradientTransformation, freeze: Sequence[str]) -> optax.GradientTransformation:
    """Returns an optimizer of the parameters that no pattern matches, which leaves the others alone.

    Those have no state and `optimizer` does not see their gradients, so they are in no norm. Its `init` and `update`
    refuse a pattern that matches no parameter, and to freeze all of them.
    """

    def labels(params: Any) -> Any:
        frozen = _frozen(params, freeze)
        return jax.tree_util.tree_map_with_path(
            lambda keys, _: "frozen" if path_of(keys) in frozen else "trained", params
        )

    # p + -0.0 is p for every p, where -0.0 + 0.0 is 0.0.
    still = optax.stateless(lambda updates, _: jax.tree.map(lambda update: jnp.full_like(update, -0.0), updates))
    return optax.partition({"trained": optimizer, "frozen": still}, labels)


def held(params: Any, freeze: Sequence[str]) -> Any:
    """Returns the parameters, those that a pattern of `optimizer.freeze` matches as constants of a loss.

    Their gradients are zeros that no backward pass computes.

    Raises:
      Refused: a pattern matches no parameter, or they match all of them.
    """
    frozen = _frozen(params, freeze)
    return jax.tree_util.tree_map_with_path(
        lambda keys, leaf: jax.lax.stop_gradient(leaf) if path_of(keys) in frozen else leaf, params
    )


def scale_by_path(rates: Sequence[tuple[str, float]], layer_decay: float) -> optax.GradientTransformation:
    """Returns the transformation that multiplies each update, and with it the learning rate, by `multipliers`.

    Its `init` refuses what `multipliers` refuses.
    """

    def init(params: Any) -> optax.EmptyState:
        multipliers(params, rates=rates, layer_decay=layer_decay)
        return optax.EmptyState()

    def update(updates: Any, state: optax.EmptyState, params: Any = None) -> tuple[Any, optax.EmptyState]:
        scaled = jax.tree.map(
            lambda update, by: (update * by).astype(update.dtype),
            updates,
            multipliers(updates, rates=rates, layer_decay=layer_decay),
        )
        return scaled, state

    return optax.GradientTransformation(init, update)


def multipliers(params: Any, *, rates: Sequence[tuple[str, float]], layer_decay: float) -> Any:
    """Returns what the learning rate of each parameter is multiplied by, a tree like `params`.

    It is the multiplier of the pattern in `rates` that matches its path, times layer_decay^d. d is 0 above the blocks
    (the last norm, the head), L - i in block i of L, and L + 1 in the embeddings: Bao et al. 2021 (BEiT), the released
    code; ELECTRA (Clark et al. 2020) has one more step under the head.

    Args:
      params: the parameters that are trained, arrays or their shapes.
      rates: (pattern, multiplier).
      layer_decay: of the learning rate, from each block to the one below.

    Returns:
      A number for each parameter; an array [L, 1, ...] for one that holds L blocks.

    Raises:
      Refused: a pattern matches no parameter, two with different multipliers match one, or the rate shall decay with
        depth and there are no blocks.
    """
    paths = _paths(params)
    # optax asks with a tree without leaves which parts of a state are as the parameters.
    if not paths:
        return params
    chosen: dict[str, tuple[str, float]] = {}
    for pattern, multiplier in rates:
        for path in _matched(pattern, paths, option="rates"):
            other, disagreeing = chosen.setdefault(path, (pattern, multiplier))
            if multiplier != disagreeing:
                raise Refused(
                    f"optimizer.rates: {other!r} gives {path} the multiplier {disagreeing} and {pattern!r} "
                    f"{multiplier}: narrow one of them."
                )
    heights = _heights(params) if layer_decay < 1 else {}

    def multiplier_of(keys: Any, leaf: Any) -> Any:
        path = path_of(keys)
        by = chosen[path][1] if path in chosen else 1.0
        return by * layer_decay ** _distance(path, leaf, heights) if heights else by

    return jax.tree_util.tree_map_with_path(multiplier_of, params)


def _heights(params: Any) -> dict[str, int]:
    """Returns how many blocks each stack has."""
    heights: dict[str, int] = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(params):
        block = block_of(path_of(keys))
        if block is not None:
            height = leaf.shape[0] if block.layer is None else block.layer + 1
            heights[block.stack] = max(heights.get(block.stack, 0), height)
    if not heights:
        raise Refused(
            "optimizer.layer_decay: no trained parameter is of a block (block_<i>/...), so there is no depth to decay "
            "with: leave it at 1, or give optimizer.rates."
        )
    return heights


def _distance(path: str, leaf: Any, heights: dict[str, int]) -> Any:
    """Returns how far a parameter is from the top, in blocks."""
    block = block_of(path)
    if block is None:
        return max(heights.values()) + 1 if _EMBEDDING.fullmatch(path) else 0
    height = heights[block.stack]
    if block.layer is not None:
        return height - block.layer
    return np.arange(height, 0, -1, dtype=np.float32).reshape(height, *(1,) * (leaf.ndim - 1))


def _frozen(params: Any, freeze: Sequence[str]) -> set[str]:
    paths = _paths(params)
    if not paths:
        return set()
    frozen = {path for pattern in freeze for path in _matched(pattern, paths, option="freeze")}
    if len(frozen) == len(paths):
        raise Refused(f"optimizer.freeze={tuple(freeze)!r} freezes all {len(paths)} parameters: leave one to train.")
    return frozen


def _paths(params: Any) -> list[str]:
    return [path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(params)]


def _matched(pattern: str, paths: list[str], *, option: str) -> list[str]:
    matched = [path for path in paths if re.fullmatch(pattern, path)]
    if not matched:
        (nearest,) = difflib.get_close_matches(pattern, paths, n=1, cutoff=0)
        raise Refused(
            f"optimizer.{option}: {pattern!r} matches the whole path of no parameter that is trained. The nearest path "
            f"is {nearest!r}."
        )
    return matched


def _check_pattern(option: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise Refused(f"optimizer.{option}: {pattern!r} is no regular expression: {error}.") from error
