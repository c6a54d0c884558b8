"""What a stranger's data is, guessed: the section `data` of an experiment, and words on each guess.

Nothing is trained here and nothing written; what cannot be guessed is refused with the way to say it.
"""

from pathlib import Path
from typing import Any

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.data.digests import digest_of
from attention_jax.data.guess_images import guess_images, patch_of
from attention_jax.data.guess_table import guess_table
from attention_jax.data.guessed import Guess
from attention_jax.data.text import decode, universal_newlines
from attention_jax.data.tfds_source import count, open_prepared

_TFDS = "tfds:"
_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
_CONTEXT = 64  # characters
_SHORTEST_TEXT = 20 * _CONTEXT  # of which the validation split, a tenth, still is a window and more
_RARE = 3


def guess(path: str, *, text: str | None = None, label: str | None = None) -> Guess:
    """Returns the guess about a path: a table of labelled texts, a folder of images, a text, or a prepared TFDS set.

    A file is a table by the end of its name (.csv, .tsv, .json, .jsonl, .ndjson), or where a column is said.

    Args:
      path: of a file or a folder, or "tfds:NAME".
      text, label: columns of a table, where the user says them; `text` of a TFDS set is a field.

    Raises:
      Refused: there is no such path, or what it holds cannot be used.
    """
    if path.startswith(_TFDS):
        _check_unsaid("label", label, path)
        return _guess_tfds(path.removeprefix(_TFDS), text)
    place = Path(path)
    if place.is_dir():
        _check_unsaid("text", text, path)
        _check_unsaid("label", label, path)
        return guess_images(path)
    if not place.exists():
        siblings = [str(sibling) for sibling in place.parent.glob("*")] if place.parent.is_dir() else []
        raise Refused(f"there is no file or folder {path!r}.{did_you_mean(path, siblings[:100])}")
    if place.suffix.lower() in _TABLES or text is not None or label is not None:
        return guess_table(path, text=text, label=label)
    return _guess_text(path)


def _check_unsaid(option: str, column: str | None, path: str) -> None:
    if column is not None:
        raise Refused(f"--{option}={column} names a column of a table, and {path!r} is none: leave it out.")


def _guess_text(path: str) -> Guess:
    """Returns the guess about a running text."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise Refused(f"text file {path!r} cannot be read: {error.strerror}. Give the path of a text file.") from None
    characters = len(universal_newlines(decode(content, f"text file {path!r}")))
    if characters < _SHORTEST_TEXT:
        raise Refused(
            f"text file {path!r} has {characters} characters, and a language model needs {_SHORTEST_TEXT}: give a "
            "longer one; a table of labelled texts is read where its name ends in .csv, .tsv or .jsonl."
        )
    section = {
        "name": "text_file",
        "path": path,
        "context": _CONTEXT,
        "min_count": _RARE,
        "digest": digest_of(content),
    }
    lines = (
        f"{path}: a running text of {characters} characters, each predicted from up to {_CONTEXT} before it",
        f"splits: the last tenth validates, and nothing is tested; characters that training has less than {_RARE} "
        "times are one, <unknown>",
        "a table of labelled texts is read as one with --text=COLUMN --label=COLUMN",
    )
    return Guess("language", section, characters * 9 // 10, (_CONTEXT,), lines)


def _guess_tfds(name: str, field: str | None) -> Guess:
    """Returns the guess about a prepared TFDS set."""
    builder = open_prepared(name)
    features = builder.info.features
    texts = [key for key in sorted(features) if type(features[key]).__name__ == "Text"]
    train = count(builder, "train")
    if field is not None and field not in texts:
        raise Refused(f"--text={field}: TFDS set {name!r} has no such field of text.{did_you_mean(field, texts)}")
    if "image" in features and "label" in features:
        return _tfds_images(name, features["image"].shape, train)
    if texts == ["text"] and train == 1:
        section = {"name": "tfds_characters", "dataset": name, "context": _CONTEXT}
        said = f"tfds:{name}: a running text, its splits train, validation and test as they are"
        return Guess("language", section, 1_000_000, (_CONTEXT,), (said,))
    if "label" in features or not texts:
        raise Refused(
            f"TFDS set {name!r} has the features {', '.join(sorted(features))}: images with a label, or texts without "
            "one are read; write labelled texts into a CSV file, and give --data=FILE.csv."
        )
    if field is None and len(texts) > 1:
        raise Refused(
            f"the text of TFDS set {name!r} may be field {' or '.join(map(repr, texts))}: say which with --text=FIELD, "
            f"such as --text={texts[0]}."
        )
    field = field or texts[0]
    section = {"name": "tfds_documents", "dataset": name, "field": field, "context": 2 * _CONTEXT}
    said = f"tfds:{name}: {train} documents to train on, field {field!r}, its splits as they are"
    return Guess("language", section, 200 * train, (2 * _CONTEXT,), (said,))


def _tfds_images(name: str, shape: tuple[Any, ...], train: int) -> Guess:
    if None in shape or patch_of(*shape[:2]) is None:
        raise Refused(
            f"the images of TFDS set {name!r} have shape {shape}, and one that patches divide is needed: write them "
            "into a folder with a sub-folder for each class, and give --data=FOLDER, which resizes them."
        )
    held_out = min(5000, max(1, train // 10))
    section = {"name": "tfds_images", "dataset": name, "validation_examples": held_out}
    said = (
        f"tfds:{name}: images of {shape[0]}x{shape[1]} with a label; train {train - held_out}, validation {held_out}, "
        "and TFDS's test split where it has one"
    )
    return Guess("images", section, train - held_out, shape[:2], (said,))
