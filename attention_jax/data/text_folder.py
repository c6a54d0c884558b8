"""Texts with a label each, from a folder or a zip that has a sub-folder for each class."""

import zipfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.labelled_texts import Labelled, check_text_options, text_dataset
from attention_jax.data.text import decode, place, universal_newlines

# A folder, or one within a zip: they have the same methods.
Place = Path | zipfile.Path


@register
def text_folder(
    *,
    path: str,
    context: int,
    test_files: str | None = None,
    tokens: str = "lower_words",
    min_count: int = 1,
    buckets: tuple[int, ...] = (),
    too_long: str = "refuse",
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    copies_together: bool = False,
    seed: int = 0,
) -> Dataset:
    """Returns labelled texts, a UTF-8 file each: fields and vocabulary as of `text_classification`.

    The sub-folders, sorted, are the classes, and the files in them, by their names, the texts; files beside the
    sub-folders are not read. Of a zip that holds one folder, that folder is meant.

    Args:
      path: the folder or the zip; where there is none of this path, it is looked for within the folder that the
        environment's TEXTS_DATA_DIR names.
      context: the most tokens in a text.
      test_files: a pattern of the names of the test split's files, such as "cv9*", which is a fold of ten of Pang & Lee
        2004; None draws `test_fraction` of the texts by the seed.
      tokens, min_count, buckets, too_long, copies_together: see `text_classification`.
      validation_fraction: of the texts, drawn by the seed, of those outside of `test_files`.
      test_fraction: of the texts, where there are no `test_files`; 0 is no test split.
      seed: fixes which text is in which split; 0 to 2^32 - 1.

    Raises:
      Refused: it is no such folder or zip, a text is not UTF-8 or too long, an option cannot be used, or a split has no
        text.
    """
    check_text_options(context, buckets, tokens=tokens, too_long=too_long, min_count=min_count, owner="text_folder")
    table = read_folder(path)
    parts = folder_splits(table, test_files, validation_fraction, test_fraction, seed, copies_together=copies_together)
    return text_dataset(
        table.labelled, parts, context, tokens=tokens, min_count=min_count, buckets=buckets, too_long=too_long
    )


class Folder(NamedTuple):
    """The texts of a folder.

    Attributes:
      labelled: each with its class.
      names: of their files.
    """

    labelled: Labelled
    names: list[str]


def folder_splits(
    table: Folder, test_files: str | None, validation: float, test: float, seed: int, *, copies_together: bool
) -> dict[str, np.ndarray]:
    """Returns the texts of each split; the options are those of `text_folder`, whose reasons to refuse it has."""
    labelled = table.labelled
    if test_files is None:
        return labelled.splits(validation, test, seed, copies_together=copies_together)
    tested = np.array([fnmatchcase(name, test_files) for name in table.names])
    if not tested.any() or tested.all():
        raise Refused(
            f"text_folder test_files={test_files!r} has {tested.sum()} of the {len(tested)} files of "
            f"{labelled.path!r}, such as {table.names[0]!r}: give a pattern of some of their names, or leave it out."
        )
    others = np.flatnonzero(~tested)
    rest = labelled._replace(texts=[labelled.texts[one] for one in others], label=labelled.label[others])
    drawn = rest.splits(validation, 0, seed, copies_together=copies_together)
    return {**{split: others[part] for split, part in drawn.items()}, "test": np.flatnonzero(tested)}


def read_folder(path: str) -> Folder:
    """Returns the texts of a folder or a zip that has a sub-folder for each class.

    Raises:
      Refused: it is no such folder or zip, or a text is not UTF-8.
    """
    folders = sorted(_classes(_root(path)), key=lambda folder: folder.name)
    if len(folders) < 2:
        raise Refused(f"{path!r} has {len(folders)} sub-folders, and each is a class: give it two or more.")
    files = [
        (number, file)
        for number, folder in enumerate(folders)
        for file in sorted(_shown(folder), key=lambda file: file.name)
        if file.is_file()
    ]
    texts = [universal_newlines(decode(file.read_bytes(), f"text file {str(file)!r}")) for _, file in files]
    label = np.array([number for number, _ in files], np.int64)
    for number, folder in enumerate(folders):
        if number not in label:
            raise Refused(f"sub-folder {folder.name!r} of {path!r} has no file: put texts there, or remove it.")
    labelled = Labelled(path, texts, label, [folder.name for folder in folders])
    return Folder(labelled, [file.name for _, file in files])


def _root(path: str) -> Place:
    there = place(path)
    if there.is_dir():
        return there
    try:
        root = zipfile.Path(there)
    except (OSError, zipfile.BadZipFile):
        raise Refused(
            f"{path!r} is neither a folder nor a zip: give the path of one, or of one within the folder that "
            "TEXTS_DATA_DIR names."
        ) from None
    within = list(_shown(root))
    return within[0] if len(within) == 1 and within[0].is_dir() else root


def _classes(root: Place) -> list[Place]:
    return [entry for entry in _shown(root) if entry.is_dir()]


def _shown(folder: Place) -> list[Place]:
    """What lies in a folder, but for what systems hide there."""
    return [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
