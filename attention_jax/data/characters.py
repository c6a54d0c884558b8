"""A running text, cut into windows of characters to predict."""

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, Source, register
from attention_jax.data.digests import check_file
from attention_jax.data.text import Characters, decode, encode, held_out, read_text
from attention_jax.data.tfds_source import count, open_prepared, read


@register
def tfds_characters(*, dataset: str, context: int, longer: tuple[int, ...] = ()) -> Dataset:
    """Returns windows of the TFDS text `dataset` (such as "tiny_shakespeare"): see `text_file` for what they hold.

    The text is taken as it is stored, its ends of lines too, but for a byte order mark at its start.

    Args:
      dataset: TFDS name of a set whose splits train, validation and test each hold one running text, field "text".
      context: characters in a window, T.
      longer: for each of these numbers the validation text is read in windows so many times as long too, as the split
        "validation_2x" of 2, and the fact `length` is the longest: see `text_file`.

    Raises:
      Refused: the set is unknown, not prepared or of another form; or its text is too short, or not UTF-8, or has a
        character outside the vocabulary.
    """
    builder = open_prepared(dataset)
    texts = {}
    for split in ("train", "validation", "test"):
        examples, fields = count(builder, split), sorted(builder.info.features)
        if examples != 1 or "text" not in fields:
            raise Refused(
                f"{dataset!r} cannot be read as characters: its split {split!r} has {examples} examples of "
                f"{fields}, and one running text in a field 'text' is needed, as tiny_shakespeare has."
            )
        texts[split] = decode(next(read(builder, split))["text"], f"the {split} text of {dataset!r}")
    return _dataset(texts, context, dataset, longer=longer)


@register
def text_file(
    *,
    path: str,
    context: int,
    longer: tuple[int, ...] = (),
    validation_fraction: float = 0.1,
    min_count: int = 0,
    digest: str | None = None,
) -> Dataset:
    """Returns windows of a UTF-8 text file: fields inputs, targets (the next characters), weights [B, context].

    Training windows start at every character. Validation and test windows follow one another, so that every character
    but the first is predicted exactly once; the last one is padded with weight 0. The vocabulary is the sorted
    characters of the training text. The ends of lines may be those of any system, each read as "\\n", and a byte order
    mark at the start is skipped: see `read_text`.

    Args:
      path: the file.
      context: characters in a window, T.
      longer: whole numbers from 2 on, rising. For each the validation text is read in windows so many times as long
        too, as the split "validation_2x" of 2: how a model does on more tokens than it was trained on. The fact
        `length` is the longest, so that a learned table has a vector for each position, those past `context` never
        trained.
      validation_fraction: of the characters, taken from the end.
      min_count: where it is 1 or more, characters that the training text has less often are one, "<unknown>", token 0.
      digest: of the file's content, as `digest_of` returns it, which is checked; None checks nothing.

    Raises:
      Refused: the file cannot be read, is not UTF-8, or not that of the digest; the text is too short; or the
        validation text has a character that the training text has not, and `min_count` is 0.
    """
    text = read_text(path)
    check_file(path, digest)
    end = held_out(len(text), validation_fraction)
    return _dataset({"train": text[:end], "validation": text[end:]}, context, path, longer=longer, min_count=min_count)


class Windows:
    """Windows of T = `context` characters of one text, starting at multiples of `stride`.

    Attributes:
      ids: the whole text.

    Args:
      ids: the text, integers [characters].
      context: T.
      stride: characters from one window's start to the next.
      windows: how many there are. Past the end of the text, inputs and targets are 0 and weights 0.
    """

    def __init__(self, ids: np.ndarray, *, context: int, stride: int, windows: int):
        self.ids = ids
        self._offsets = np.arange(context + 1)
        self._stride = stride
        self._windows = windows

    def __len__(self) -> int:
        return self._windows

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns inputs, targets int32 and weights float32 of the windows `indices` ([B]), each [B, T]."""
        positions = np.asarray(indices)[:, None] * self._stride + self._offsets
        inside = positions < len(self.ids)
        ids = np.where(inside, self.ids[np.where(inside, positions, 0)], 0).astype(np.int32)
        # The input of the text's last character has no target: it is padding too.
        inputs = np.where(inside[:, 1:], ids[:, :-1], 0)
        return {"inputs": inputs, "targets": ids[:, 1:], "weights": inside[:, 1:].astype(np.float32)}


def _dataset(texts: dict[str, str], context: int, name: str, *, longer: tuple[int, ...], min_count: int = 0) -> Dataset:
    """Returns the windows of the `texts` (split to text) of the data set `name`."""
    if context < 1:
        raise Refused(f"context must be at least 1 character, got {context}.")
    if list(longer) != sorted({*longer}) or min(longer, default=2) < 2:
        raise Refused(f"longer={longer}: give whole numbers from 2 on, rising, such as (2, 4).")
    for split, text in texts.items():
        needed = context + 1 if split == "train" else 2
        if len(text) < needed:
            raise Refused(
                f"the {split} text of {name!r} has {len(text)} characters and context {context} needs {needed}: "
                "use a longer text or a smaller context."
            )
    encoded, vocabulary = encode(texts, name, min_count=min_count)
    splits: dict[str, Source] = {
        split: Windows(ids, context=context, stride=1, windows=len(ids) - context)
        if split == "train"
        else _following(ids, context)
        for split, ids in encoded.items()
    }
    splits |= {f"validation_{times}x": _following(encoded["validation"], times * context) for times in longer}
    length = max(longer, default=1) * context
    facts = {"vocabulary_size": len(vocabulary), "length": length, "vocabulary": vocabulary}
    return Dataset(splits=splits, facts=facts, tokenizer=Characters(vocabulary, owner=name))


def _following(ids: np.ndarray, context: int) -> Windows:
    """Windows that follow one another."""
    return Windows(ids, context=context, stride=context, windows=-(-(len(ids) - 1) // context))
