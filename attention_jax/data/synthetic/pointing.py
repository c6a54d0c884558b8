"""What generators of sequences of places share: places 1, 2 ... of a source, and the place 0 that ends them."""

from typing import Any

import numpy as np

from attention_jax.data.synthetic.splits import Arrays

END = 0


def pointed(order: np.ndarray, lengths: np.ndarray, source_lengths: np.ndarray) -> Arrays:
    """Returns inputs, targets, target_lengths, source_lengths int32 and weights float32: places to be pointed at.

    The targets of a row are its places and `END`, the inputs begin with `END` and go on with its places; both are
    padded with 0 to one more than the longest row may have.

    Args:
      order: [N, T], places of the source from 1.
      lengths: [N], how many of them, from the first, count.
      source_lengths: [N], the items of each source.
    """
    rows, most = order.shape
    order = np.where(np.arange(most) < lengths[:, None], order, END).astype(np.int32)
    end = np.full((rows, 1), END, np.int32)
    target_lengths = (lengths + 1).astype(np.int32)
    return {
        "inputs": np.concatenate([end, order], axis=1),
        "targets": np.concatenate([order, end], axis=1),
        "weights": (np.arange(most + 1) < target_lengths[:, None]).astype(np.float32),
        "target_lengths": target_lengths,
        "source_lengths": source_lengths.astype(np.int32),
    }


def facts_of(*, vocabulary_size: int, most: int) -> dict[str, Any]:
    """Returns the facts of a data set of places.

    Args:
      vocabulary_size: of the items, which are tokens; 0 where they are points.
      most: the most places of a target.
    """
    lengths = {"source_length": most, "target_length": most + 1, "length": most + 1}
    return {"vocabulary_size": vocabulary_size, "begin": END, "end": END, **lengths}
