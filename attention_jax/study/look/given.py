"""The input of a trained model: a text, a source with the target that it writes, or an example of its data."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import models
from attention_jax.base.errors import Refused
from attention_jax.decoding import generate, has_memory, prompted
from attention_jax.models.vit import CLASS_TOKEN, grid_of
from attention_jax.training.trained import Trained

# Words by which a sentence is named.
_FIRST_WORDS = 4


@dataclass(frozen=True)
class Given:
    """One input.

    Attributes:
      arrays: what the model is called with, each [1, ...].
      tokens: how the tokens of a stack are named, by "" or "encoder" and "decoder"; and those of an array that the
        model reads, by its name, or its sentences, by their first words.
      cells: name -> the tokens of each sentence, of an array of sentences.
      image: [Y, X, C] in [0, 1]; None where there is none.
      grid: the rows and columns of its patches.
      class_token: whether a token that stands nowhere comes before those of the image.
    """

    arrays: dict[str, Any]
    tokens: dict[str, list[str]]
    image: np.ndarray | None = None
    grid: tuple[int, int] | None = None
    class_token: bool = False
    cells: dict[str, list[list[str]]] = field(default_factory=dict)

    def places(self, tokens: int) -> np.ndarray:
        """Returns where each of so many tokens stands, [T, d]: its number, or the row and the column of its patch."""
        if self.grid is None:
            return np.arange(tokens, dtype=np.float64)[:, None]
        patches = np.stack(np.unravel_index(np.arange(self.grid[0] * self.grid[1]), self.grid), axis=-1)
        return np.concatenate([np.full((int(self.class_token), 2), np.nan), patches])


def given(trained: Trained, text: str) -> Given:
    """Returns an input of a trained model.

    Args:
      trained: the model and its data set.
      text: what it reads, where its data are text; the number of an example of the validation split of other data, and
        of texts that are classified.

    Raises:
      Refused: a token is unknown, the text is too long or empty, or there is no such example.
    """
    if trained.dataset.read is not None and not _is_example(trained, text):
        return _sequences(trained, models.arrays_of(trained.model, trained.dataset.read(text)))
    if trained.dataset.tokenizer is None or not {"inputs", "source"} & {*trained.model.reads}:
        return _example(trained, text)
    model, tokenizer = trained.model, trained.dataset.tokenizer
    (tokens,) = tokenizer.tokenize([text])
    if not has_memory(model):
        if not 1 <= len(tokens) <= model.length:
            raise Refused(
                f"--input has {len(tokens)} tokens: give 1 to {model.length}, which the model was trained on."
            )
        return Given({"inputs": jnp.asarray([tokens])}, {"": _names(trained, tokens)})
    before = prompted(model, trained.variables, [tokens], max_new_tokens=model.target_length)
    write = jax.jit(generate, static_argnames=("max_new_tokens", "end"))
    start = (before.advance, before.state, before.prompt, before.lengths)
    made = write(*start, max_new_tokens=model.target_length, end=before.end)
    written = [model.begin, *np.asarray(made.tokens[0, : made.lengths[0]]).tolist()][: model.target_length]
    source = [*tokens, model.end]
    arrays = {"source": jnp.asarray([source]), "inputs": jnp.asarray([written])}
    of_source, of_written = _names(trained, source), _names(trained, written)
    named = {"encoder": of_source, "decoder": of_written, "source": of_source, "inputs": of_written}
    return Given(arrays, named)


def _is_example(trained: Trained, text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) < len(trained.dataset.splits["validation"])


def _example(trained: Trained, text: str) -> Given:
    split = trained.dataset.splits["validation"]
    if not _is_example(trained, text):
        raise Refused(
            f"--input={text}: the data set of this run is no text; give the number of an example of its validation "
            f"split, 0 to {len(split) - 1}."
        )
    arrays = models.arrays_of(trained.model, split.gather(np.array([int(text)])))
    if "image" not in arrays:
        return _sequences(trained, arrays)
    image = arrays["image"][0]
    grid = grid_of(arrays["image"].shape, trained.model.patch)
    class_token = trained.model.pooling == CLASS_TOKEN
    names = ["class"] * class_token + [f"row {row} column {column}" for row, column in np.ndindex(*grid)]
    shown = (image - image.min()) / max(float(np.ptp(image)), 1e-6)
    return Given(arrays, {"": names}, shown, grid, class_token)


def _sequences(trained: Trained, arrays: dict[str, np.ndarray]) -> Given:
    """Returns sequences without their padding."""
    lengths = {
        name.removesuffix("lengths"): int(array[0])
        for name, array in arrays.items()
        if name.endswith("lengths") and array.ndim == 1
    }
    arrays = {
        name: array if array.ndim < 2 else array[:, : _length_of(name, lengths)] for name, array in arrays.items()
    }
    tokens: dict[str, list[str]] = {}
    cells: dict[str, list[list[str]]] = {}
    for name in trained.model.reads:
        array = arrays[name]
        if array.ndim == 2:
            tokens[name] = _names(trained, array[0])
        elif array.ndim == 3:
            cells[name] = [_names(trained, row) for row in array[0]]
            counts = arrays.get("sentence_lengths")
            if counts is not None:
                cells[name] = [row[:count] for row, count in zip(cells[name], counts[0], strict=True)]
            tokens[name] = [" ".join(row[:_FIRST_WORDS]) for row in cells[name]]
    # Of tokens that share a place the first names it.
    first = arrays[trained.model.reads[0]][0]
    tokens[""] = _names(trained, first.reshape(len(first), -1)[:, 0])
    return Given(arrays, tokens, cells=cells)


def _length_of(name: str, lengths: dict[str, int]) -> int | None:
    """Returns how much of an array is real: "source_lengths" is of "source", "lengths" of all that have none."""
    own = [prefix for prefix in lengths if prefix and name.startswith(prefix.removesuffix("_"))]
    return lengths[own[0]] if own else lengths.get("")


def _names(trained: Trained, tokens: Any) -> list[str]:
    """Returns the text of each token, or its number."""
    vocabulary = trained.dataset.facts.get("vocabulary")
    return [str(token) if vocabulary is None else str(vocabulary[token]) for token in np.asarray(tokens).tolist()]
