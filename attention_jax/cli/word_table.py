"""The work of `launch.py vectors`: the table of a trained model's tokens as word vectors."""

import sys
from pathlib import Path

import jax
import numpy as np

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.interop.word_vectors import write_word_vectors
from attention_jax.layers.paths import path_of
from attention_jax.training.trained import restore_trained


def write_vectors(workdir: Path, table: str, output: Path, *, checkpoint: str | None) -> int:
    """Writes the vectors of a run's words, and returns how many there are.

    Tokens that cannot be parted from their vectors in a file, such as a blank, are left out.

    Args:
      workdir: the folder of the run.
      table: the path of the array.
      output: the file.
      checkpoint: see `restore_trained`.

    Raises:
      Refused: the run, its data or its model has no such table, or the file cannot be written.
    """
    trained = restore_trained(workdir, checkpoint=checkpoint, say=lambda said: print(said, file=sys.stderr))
    vocabulary = trained.dataset.facts.get("vocabulary")
    if vocabulary is None:
        raise Refused(
            f"workdir {str(workdir)!r} is of a data set whose tokens are no words: there are no vectors of any."
        )
    leaves = jax.tree_util.tree_leaves_with_path(trained.variables["params"])
    found = {path_of(keys): leaf for keys, leaf in leaves if leaf.ndim == 2 and len(leaf) == len(vocabulary)}
    if table not in found:
        raise Refused(
            f"the model has no table {table!r} with a row for each of the {len(vocabulary)} tokens."
            f"{did_you_mean(table, found)}"
        )
    rows = [row for row, word in enumerate(vocabulary) if word.split() == [word]]
    vectors = np.asarray(jax.device_get(found[table]), np.float32)[rows]
    write_word_vectors(output, [vocabulary[row] for row in rows], vectors)
    return len(rows)
