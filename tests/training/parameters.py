"""Parameters of a small model, by hand: what the tests of optimizers take steps with."""

from typing import Any

import jax
import numpy as np

from attention_jax.layers.paths import path_of

WIDTH, HEADS, HEAD_WIDTH, HIDDEN = 4, 2, 3, 5
BLOCK = {
    "attention": {
        "query": {"kernel": (WIDTH, HEADS, HEAD_WIDTH), "bias": (HEADS, HEAD_WIDTH)},
        "out": {"kernel": (HEADS, HEAD_WIDTH, WIDTH)},
        "variant_query": (HEADS, HEAD_WIDTH),
    },
    "attention_norm": {"scale": (WIDTH,)},
    "feed_forward": {"hidden": {"kernel": (WIDTH, HIDDEN), "bias": (HIDDEN,)}, "out": {"kernel": (HIDDEN, WIDTH)}},
}
OUTSIDE = {
    "token": {"embedding": (7, WIDTH)},
    "position": {"embedding": (6, WIDTH)},
    "class_token": (1, 1, WIDTH),
    "patch": {"kernel": (3, WIDTH)},
    "norm": {"scale": (WIDTH,), "bias": (WIDTH,)},
    "head": {"kernel": (WIDTH, 7)},
}
SHAPES = {**OUTSIDE, "block_0": BLOCK, "block_1": BLOCK}
SCANNED = {**OUTSIDE, "blocks": jax.tree.map(lambda shape: (2, *shape), BLOCK, is_leaf=lambda x: isinstance(x, tuple))}
QUERY, HEAD, TOKEN = "block_0/attention/query/kernel", "head/kernel", "token/embedding"


def drawn(seed: int, shapes: Any = SHAPES) -> Any:
    """Returns normal numbers in place of shapes, float32."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: rng.normal(size=shape).astype(np.float32), shapes, is_leaf=lambda x: isinstance(x, tuple)
    )


def flat(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a tree by their paths."""
    return {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)}
