"""What a stranger's folder of images is: its classes, its colours, the one size that its images are read in."""

from collections import Counter
from pathlib import Path

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.guessed import Guess, class_lines, fractions, split_line
from attention_jax.data.image_folder import Folder, image_form, read_folder
from attention_jax.data.stratified import groups, stratified

# Images of several sizes, or of one that patches do not divide, are read in this.
_SIZE = (32, 32)
_LARGEST = 64  # pixels, of a side that stays as it is
_FEWEST_PATCHES, _MOST_PATCHES = 4, 64


def guess_images(path: str) -> Guess:
    """Returns the guess about a folder that has a sub-folder of images for each class.

    Raises:
      Refused: it is no such folder, a file is no image, or a class has a single one.
    """
    folder = read_folder(path)
    counts = {folder.classes[number]: int(count) for number, count in enumerate(np.bincount(folder.label))}
    for name, count in counts.items():
        if count == 1:
            raise Refused(
                f"class {name!r} of folder {path!r} has one image: it cannot be trained on and tested: give it more, "
                "or remove it."
            )
    forms = [image_form(file) for file in folder.files]
    sizes = Counter((height, width) for height, width, _ in forms)
    grey = all(is_grey for _, _, is_grey in forms)
    (usual, _), *others = sizes.most_common()
    size = usual if not others and max(usual) <= _LARGEST and patch_of(*usual) is not None else _SIZE
    shares = fractions(len(folder.files))
    copies = groups(folder.digests)
    parts = stratified(folder.label, copies, seed=0, owner=repr(path), noun="image", **shares)
    section = {"name": "image_folder", "path": path, "size": size, "grey": grey, "digest": folder.digest, **shares}
    read = "as they are" if usual == size and not others else f"resized to {size[0]}x{size[1]}, proportions not kept"
    several = f" and other sizes ({len(others)})" if others else ""
    lines = [
        f"{path}: {len(folder.files)} images, a sub-folder for each class",
        *class_lines(counts, noun="image"),
        split_line(*map(len, parts.values()), copies=_copies(copies, folder)),
        f"{'grey' if grey else 'colour'} images, {usual[0]}x{usual[1]}{several} (height x width), {read}",
    ]
    beside = [file.name for file in Path(path).iterdir() if file.is_file() and not file.name.startswith(".")]
    if beside:
        lines.append(f"files beside the sub-folders ({len(beside)}) are not read, such as {sorted(beside)[0]}")
    return Guess("images", section, len(parts["train"]), size, tuple(lines))


def patch_of(height: int, width: int) -> int | None:
    """Returns the side of the smallest square patch that cuts an image into 4 to 64; None where there is none."""
    for patch in range(1, min(height, width) + 1):
        patches = (height // patch) * (width // patch)
        if not height % patch and not width % patch and _FEWEST_PATCHES <= patches <= _MOST_PATCHES:
            return patch
    return None


def _copies(group: np.ndarray, folder: Folder) -> str:
    """Returns words on files of the same bytes."""
    counts = np.bincount(group)
    if counts.max() == 1:
        return "; no file is there twice"
    classes = [len({*folder.label[group == number]}) for number in np.flatnonzero(counts > 1)]
    differing = sum(count > 1 for count in classes)
    said = f", {differing} of them in different classes" if differing else ""
    return (
        f"; {len(classes)} of the images are there more than once ({counts[counts > 1].sum()} files{said}): all copies "
        "of one are in one split"
    )
