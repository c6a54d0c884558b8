"""The input of a trained model: a text, a source with the target that it writes, or an example of its data."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import models
from attention_jax.base.errors import Refused
from attention_jax.decoding import generate, has_memory, prompted
from attention_jax.models.vit import CLASS_TOKEN, grid_of
from attention_jax.training.trained import Trained


@dataclass(frozen=True)
class Given:
    """One input.

    Attributes:
      arrays: what the model is called with, each [1, ...].
      tokens: how the tokens of a stack are named, by "" or "encoder" and "decoder".
      image: [Y, X, C] in [0, 1]; None where there is none.
      grid: the rows and columns of its patches.
      class_token: whether a token that stands nowhere comes before those of the image.
    """

    arrays: dict[str, Any]
    tokens: dict[str, list[str]]
    image: np.ndarray | None = None
    grid: tuple[int, int] | None = None
    class_token: bool = False

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
      text: what it reads, where its data are text, each sentence of a document a line; elsewhere, and of a classifier
        too, the number of an example of the validation split.

    Raises:
      Refused: a token is unknown, the text is too long or empty, or there is no such example.
    """
    model, tokenizer = trained.model, trained.dataset.tokenizer
    reads = {"inputs", "source", "tokens", "document"} & {*model.reads}
    if tokenizer is None or not reads:
        return _example(trained, text)
    if reads & {"tokens", "document"}:
        return _example(trained, text) if text.isdecimal() else _to_classify(trained, text)
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
    return Given(arrays, {"encoder": _names(trained, source), "decoder": _names(trained, written)})


def _to_classify(trained: Trained, text: str) -> Given:
    """Returns a text, or a document whose sentences are lines."""
    assert trained.dataset.tokenizer is not None
    lines = [text] if "tokens" in trained.model.reads else [line for line in text.split("\n") if line.strip()]
    numbered = trained.dataset.tokenizer.tokenize(lines)
    if not any(numbered):
        raise Refused("--input has no token: give a text, or the number of an example of the validation split.")
    if "tokens" in trained.model.reads:
        tokens = numbered[0]
        most = getattr(trained.model, "length", len(tokens))
        if len(tokens) > most:
            raise Refused(f"--input has {len(tokens)} tokens: give 1 to {most}, which the model was trained on.")
        return Given({"tokens": jnp.asarray([tokens])}, {"": _names(trained, tokens)})
    lengths = np.array([[len(line) for line in numbered]], np.int32)
    document = np.zeros((1, len(numbered), lengths.max()), np.int32)
    for place, line in enumerate(numbered):
        document[0, place, : len(line)] = line
    arrays = {"document": document, "sentence_lengths": lengths, "lengths": np.array([len(numbered)], np.int32)}
    return Given(arrays, {"": [token for line in numbered for token in _names(trained, line)]})


def _example(trained: Trained, text: str) -> Given:
    split = trained.dataset.splits["validation"]
    if not (text.isascii() and text.isdigit() and int(text) < len(split)):
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
    # One token of padding is left of what has no token.
    most = max(int(arrays["lengths"][0]), 1) if "lengths" in arrays else None
    arrays = {name: array[:, :most] if array.ndim > 1 else array for name, array in arrays.items()}
    tokens = arrays[trained.model.reads[0]][0]
    if "document" in arrays:
        real = [line[:length] for line, length in zip(tokens, arrays["sentence_lengths"][0], strict=True)]
        return Given(arrays, {"": _names(trained, np.concatenate(real))})
    # Of tokens that share a place the first names it.
    return Given(arrays, {"": _names(trained, tokens.reshape(len(tokens), -1)[:, 0])})


def _names(trained: Trained, tokens: Any) -> list[str]:
    """Returns the text of each token, or its number."""
    vocabulary = trained.dataset.facts.get("vocabulary")
    return [str(token) if vocabulary is None else str(vocabulary[token]) for token in np.asarray(tokens).tolist()]
