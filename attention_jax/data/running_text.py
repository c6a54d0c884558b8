"""Running texts, a line or a field each, from wherever they lie: files, folders, zips, and prepared TFDS sets."""

import zipfile
from pathlib import Path

from attention_jax.base.errors import Refused
from attention_jax.data.text import decode, place, read_text, universal_newlines
from attention_jax.data.tfds_source import open_prepared, read

TFDS = "tfds:"


def running_texts(source: str) -> list[str]:
    """Returns the lines of a source that are not blank.

    Args:
      source: a UTF-8 text file; a folder or a zip, all files below which that end in .txt are read, in the order of
        their paths; or "tfds:SET:FIELD", the field of a prepared TFDS set's train split, such as
        "tfds:aeslc:email_body". Paths are looked for within the folder that TEXTS_DATA_DIR names too.

    Raises:
      Refused: the source cannot be read, is not UTF-8, or has no text.
    """
    contents = _of_tfds(source) if source.startswith(TFDS) else _of_files(source)
    lines = [line for content in contents for line in universal_newlines(content).split("\n") if line.strip()]
    if not lines:
        raise Refused(f"{source!r} has no text: give a text file, a folder or a zip of .txt files, or tfds:SET:FIELD.")
    return lines


def _of_tfds(source: str) -> list[str]:
    name, _, field = source.removeprefix(TFDS).rpartition(":")
    if not name:
        raise Refused(f"texts {source!r}: write tfds:SET:FIELD, such as tfds:aeslc:email_body.")
    found = []
    for example in read(open_prepared(name), "train"):
        if not isinstance(example.get(field), bytes):
            texts = sorted(key for key, value in example.items() if isinstance(value, bytes))
            raise Refused(f"TFDS data set {name!r} has no text {field!r}: it has {', '.join(texts) or 'none'}.")
        found.append(decode(example[field], f"a text of {name!r}"))
    return found


def _of_files(source: str) -> list[str]:
    there = place(source)
    if there.is_dir():
        return [read_text(str(path)) for path in sorted(there.rglob("*.txt"))]
    if there.suffix != ".zip":
        return [read_text(str(there))]
    try:
        with zipfile.ZipFile(there) as archive:
            names = sorted(name for name in archive.namelist() if Path(name).suffix == ".txt")
            return [decode(archive.read(name), f"text file {name!r} of {source!r}") for name in names]
    except (OSError, zipfile.BadZipFile) as error:
        raise Refused(f"{source!r} cannot be read ({error}): give a zip of text files.") from None
