"""What a model declares to be looked at: its weights on one example, with the words of their rows and columns."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax
import jax
import numpy as np
from jaxtyping import Float

from attention_jax.layers.attention import LOOKED_AT
from attention_jax.layers.looked import Looked
from attention_jax.training.trained import Trained


@dataclass(frozen=True)
class Lines:
    """Weights of a pooling: of each line of words, how much of each word is in what sums it up.

    Attributes:
      title: the heading.
      words: of each line.
      weights: of each line, [R, words], of each of R means.
    """

    title: str
    words: list[list[str]]
    weights: list[Float[np.ndarray, "R S"]]


@dataclass(frozen=True)
class Pairs:
    """Weights of one text's tokens over another's.

    Attributes:
      title: the heading.
      rows, columns: the tokens, T and S of them.
      weights: [N, T, S], of each head.
    """

    title: str
    rows: list[str]
    columns: list[str]
    weights: Float[np.ndarray, "N T S"]


def looked_at(trained: Trained, arrays: Mapping[str, Any]) -> list[Lines | Pairs]:
    """Returns what a model declares by `looks` (layers/looked.py), of one example.

    Args:
      trained: the model and its data set.
      arrays: what it is called with, by name, each [1, ...].
    """
    model, looks = trained.model, getattr(trained.model, "looks", ())
    if not looks:
        return []
    apply = jax.jit(lambda variables, arrays: model.apply(variables, **arrays, mutable=[LOOKED_AT]))
    sown = jax.device_get(apply(trained.variables, dict(arrays))[1]).get(LOOKED_AT, {})
    by_path = flax.traverse_util.flatten_dict(sown, sep="/")
    return [shown for looked in looks for shown in _shown(looked, by_path, trained.dataset.facts, arrays)]


def _shown(
    looked: Looked, sown: Mapping[str, Any], facts: Mapping[str, Any], arrays: Mapping[str, Any]
) -> Iterator[Lines | Pairs]:
    found = [path for path in sown if re.fullmatch(f"{looked.path}/weights", path)]
    for path in sorted(found):
        for weights in map(np.asarray, sown[path]):
            where = path.removesuffix("/weights")
            title = looked.title if len(found) == 1 else f"{looked.title}, {where}"
            if looked.rows is not None:
                yield _pairs(title, looked.rows, looked.columns, weights[0], facts, arrays)
                continue
            lines = _lines(looked.columns, facts, arrays)
            if looked.whole:
                lines = [[" ".join(line) for line in lines]]
            # The weights of lines beyond the last are those of padding.
            cut = [of[:, 0, : len(line)] for of, line in zip(weights, lines, strict=False)]
            yield Lines(title, lines, cut)


def _pairs(
    title: str,
    rows: str,
    columns: str,
    weights: Float[np.ndarray, "N T S"],
    facts: Mapping[str, Any],
    arrays: Mapping[str, Any],
) -> Pairs:
    def names(array: str, places: int) -> list[str]:
        (line,) = _lines(array, facts, arrays)
        more = places - np.asarray(arrays[array]).shape[1]
        # Of a wide convolution there are more places than tokens: they have numbers alone.
        return line if not more else [""] * (len(line) + more)

    of_rows, of_columns = names(rows, weights.shape[1]), names(columns, weights.shape[2])
    return Pairs(title, of_rows, of_columns, weights[:, : len(of_rows), : len(of_columns)])


def _lines(name: str, facts: Mapping[str, Any], arrays: Mapping[str, Any]) -> list[list[str]]:
    """Returns the real tokens of an array [1, T], or of each sequence of [1, S, W]."""
    tokens = np.asarray(arrays[name])
    vocabulary: Sequence[str] | None = facts.get(f"{name}_vocabulary", facts.get("vocabulary"))
    lengths = arrays.get(f"{name}_lengths", arrays.get("lengths"))
    if tokens.ndim == 3:
        count = tokens.shape[1] if lengths is None else int(lengths[0])
        of_each = arrays.get("sentence_lengths")
        real = [tokens.shape[2]] * count if of_each is None else np.asarray(of_each)[0, :count].tolist()
        lines = [line[:length] for line, length in zip(tokens[0], real, strict=False)]
    else:
        lines = [tokens[0] if lengths is None else tokens[0, : int(lengths[0])]]
    return [[str(token) if vocabulary is None else str(vocabulary[token]) for token in line.tolist()] for line in lines]
