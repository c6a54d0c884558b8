"""Labelled images from a folder that has a sub-folder for each class."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, Source, register
from attention_jax.data.digests import check_digest, digest_of
from attention_jax.data.images import ImageSource, channel_statistics
from attention_jax.data.seeds import check_seed
from attention_jax.data.stratified import groups, stratified

_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
_ORIENTATION = 0x0112  # the number of the EXIF tag


@register
def image_folder(
    *,
    path: str,
    size: tuple[int, ...],
    grey: bool = False,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
    digest: str | None = None,
) -> Dataset:
    """Returns the images of a folder: fields image [B, H, W, C], C 3 or of grey ones 1, and label [B].

    The sub-folders, sorted, are the classes; every file in them, at any depth, is an image that Pillow reads. One of
    another size is resized to `size`, whatever its proportions; transparency is left out. Pixels are scaled to [0, 1],
    then normalised by the mean and standard deviation of each channel over the training images. All are held as uint8.

    The splits are drawn by the seed, with the same share of each class in each, rounded; files of the same bytes are in
    one split.

    Args:
      path: the folder.
      size: (height, width) in pixels.
      grey: whether images are read as grey levels.
      validation_fraction: of the images.
      test_fraction: of the images; 0 is no test split.
      seed: fixes which image is in which split; 0 to 2^32 - 1.
      digest: of the names and contents of the files, as `read_folder` returns it, which is checked; None checks none.

    Raises:
      Refused: the folder is no such one, or not that of the digest; a file is no image; an option cannot be used; or a
        split has no image, or the train split none of some class.
    """
    if len(size) != 2 or min(size) < 1:
        raise Refused(f"image_folder size {size}: give (height, width) in pixels, such as (32, 32).")
    check_seed(seed, name="image_folder seed")
    folder = read_folder(path)
    check_digest(path, folder.digest, digest)
    parts = stratified(
        folder.label,
        groups(folder.digests),
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=seed,
        owner=repr(path),
        noun="image",
    )
    images = np.stack([_decoded(file, (size[0], size[1]), grey) for file in folder.files])
    mean, std = channel_statistics(images[parts["train"]])
    labels = folder.label.astype(np.int32)
    splits: dict[str, Source] = {
        split: ImageSource(images[part], labels[part], mean=mean, std=std) for split, part in parts.items()
    }
    facts = {"image_shape": images.shape[1:], "num_classes": len(folder.classes), "classes": folder.classes}
    return Dataset(splits=splits, facts=facts)


class Folder(NamedTuple):
    """The files of a folder of images.

    Attributes:
      classes: the names of the sub-folders, sorted.
      files: N of them, by class, then by name.
      label: [N], the class of each.
      digests: of the content of each.
      digest: of all names and contents.
    """

    classes: list[str]
    files: list[Path]
    label: np.ndarray
    digests: list[str]
    digest: str


def read_folder(path: str) -> Folder:
    """Returns the files of a folder with a sub-folder for each class; names that begin with a dot are not read.

    Raises:
      Refused: it cannot be read, has fewer than two sub-folders, or one of them has no file.
    """
    root = Path(path)
    try:
        classes = sorted(part.name for part in root.iterdir() if part.is_dir() and not part.name.startswith("."))
        if len(classes) < 2:
            there = f"the one sub-folder {classes[0]!r}" if classes else "no sub-folder"
            raise Refused(f"folder {path!r} has {there}: give one with a sub-folder of images for each of two classes.")
        if {*classes} <= {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}:
            raise Refused(
                f"the sub-folders of {path!r} are splits ({', '.join(classes)}), and classes are needed: give one of "
                f"them, such as {str(root / classes[-1])!r}; the splits are drawn from it."
            )
        found = {name: _files(root / name) for name in classes}
        empty = [name for name, files in found.items() if not files]
        if empty:
            raise Refused(f"class {empty[0]!r} of folder {path!r} has no image: put some into it, or remove it.")
        files = [file for name in classes for file in found[name]]
        digests = [digest_of(file.read_bytes()) for file in files]
    except OSError as error:
        raise Refused(f"folder {path!r} cannot be read: {error}. Give a folder of images.") from None
    said = "\n".join(f"{file.relative_to(root)} {digest}" for file, digest in zip(files, digests, strict=True))
    label = np.repeat(np.arange(len(classes)), [len(found[name]) for name in classes])
    return Folder(classes, files, label, digests, digest_of(said.encode()))


def image_form(file: Path) -> tuple[int, int, bool]:
    """Returns the height and width of an image, and whether it is grey.

    Raises:
      Refused: it is no image that can be used.
    """
    with _opened(file) as image:
        turned = image.getexif().get(_ORIENTATION, 1) >= 5  # the camera lay on its side
        width, height = image.size[::-1] if turned else image.size
        return height, width, image.mode in ("1", "L", "LA")


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Opens an image; what is wrong with it comes to light here, or only when its pixels are read."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            if image.mode not in _EIGHT_BITS:
                raise Refused(
                    f"{str(file)!r} is an image of mode {image.mode}: save it with 8 bits a channel, as PNG or JPEG."
                )
            yield image
    except UnidentifiedImageError:
        raise Refused(f"{str(file)!r} is no image that Pillow reads: remove it, or save it as PNG or JPEG.") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise Refused(f"image {str(file)!r} is broken ({error}): remove it, or save it anew.") from None


def _decoded(file: Path, size: tuple[int, int], grey: bool) -> np.ndarray:
    """Returns an image as uint8 [H, W, C]."""
    from PIL import ImageOps

    with _opened(file) as opened:
        image = ImageOps.exif_transpose(opened).convert("L" if grey else "RGB")
    if image.size != size[::-1]:
        image = image.resize(size[::-1], reducing_gap=2.0)
    pixels = np.asarray(image, np.uint8)
    return pixels[..., None] if grey else pixels
