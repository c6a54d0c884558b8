"""Preparing a built-in TFDS data set: download or take its files, check them, and write array_record."""

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attention_jax.base.errors import Refused
from attention_jax.data.text import TEXTS, place
from attention_jax.data.tfds_source import check_format, find_builder, open_prepared, quiet

_RETRIES = 5  # of a download


def prepare(
    name: str, *, data_dir: str | None = None, manual_dir: str | None = None, download_dir: str | None = None
) -> Path:
    """Prepares the built-in TFDS set `name` as array_record and returns its folder; at once where it is prepared.

    Every file, downloaded or at hand, is checked against the size and SHA-256 that TFDS has registered for it; one that
    it has registered none for is not.

    Args:
      name: TFDS's name, such as "fashion_mnist" or "scan/length".
      data_dir: where prepared sets go; TFDS_DATA_DIR or ~/tensorflow_datasets if not given.
      manual_dir: a folder with the original files, under their original names; those are not downloaded.
      download_dir: where downloads and unpacked files go; `data_dir`/downloads if not given.

    Raises:
      Refused: TensorFlow is not installed; the set is unknown or prepared in another format; `manual_dir` has none of
        its files; a file is not the registered one; or a download or a write failed.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise Refused(
            f"preparing {name!r} needs TensorFlow, which is not installed (reading prepared sets does without): "
            "run `pip install -r requirements-prepare.txt`."
        )
    with quiet():
        builder = find_builder(name, data_dir=data_dir)
        if builder.is_prepared():
            check_format(builder)
        else:
            _check_manual_dir(builder, name, manual_dir)
            _download_and_prepare(builder, name, manual_dir, download_dir)
    return Path(builder.data_dir)


def check_prepared(section: Mapping[str, Any]) -> None:
    """Checks that what the section `data` of a config names lies on this machine, without reading an example.

    Args:
      section: whose `dataset` is the name of a TFDS set and whose `path` or `folder` that of texts, where it has them.

    Raises:
      Refused: it does not lie there; it says where it comes from.
    """
    if section.get("dataset") is not None:
        open_prepared(section["dataset"])
    for key, noun in (("path", "file"), ("folder", "folder")):
        if section.get(key) is not None and not place(section[key]).exists():
            raise Refused(
                f"there is no {noun} {section[key]!r}, nor one within the folder that {TEXTS} names: put it there, or "
                f"set data.{key}."
            )


def _files(builder: Any) -> list[str]:
    """Returns the names of the original files that TFDS has registered for a set."""
    return sorted({info.filename for info in builder.url_infos.values() if info.filename})


def _check_manual_dir(builder: Any, name: str, manual_dir: str | None) -> None:
    """Refuses a folder that TFDS would pass over in silence, and the lack of one that it cannot do without."""
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        if manual_dir is None:
            instructions = " ".join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
            raise Refused(f"{name!r} has to be fetched by hand, into a folder given as manual_dir: {instructions}")
        return
    files = _files(builder)
    if manual_dir is not None and not any((Path(manual_dir) / file).is_file() for file in files):
        raise Refused(f"manual_dir {manual_dir!r} has none of the files of {name!r}: {', '.join(files)}.")


def _download_and_prepare(builder: Any, name: str, manual_dir: str | None, download_dir: str | None) -> None:
    import requests
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader, util
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    # TFDS's own ten, with doubling waits, keep a user without a network waiting for 3.4 minutes.
    downloader.MAX_RETRIES = _RETRIES
    depth = len(Path(builder.info.full_name).parts)  # set, config if there is one, version
    downloads = Path(download_dir) if download_dir else Path(builder.data_dir).parents[depth - 1] / "downloads"
    config = tfds.download.DownloadConfig(
        manual_dir=manual_dir,
        # TFDS names an unpacked file by its file name alone: in one folder, MNIST's would be taken for Fashion-MNIST's.
        extract_dir=downloads / "extracted" / builder.name,
        try_download_gcs=False,
    )
    try:
        builder.download_and_prepare(download_dir=downloads, download_config=config, file_format="array_record")
    except NonMatchingChecksumError as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        raise Refused(f"cannot prepare {name!r}: {reason}. Fetch that file again.") from None
    except (requests.RequestException, util.DownloadError) as error:
        raise Refused(
            f"cannot prepare {name!r}: a download failed ({_one_line(error)}). Try again, or fetch "
            f"{', '.join(_files(builder)) or 'its files'} elsewhere and give their folder as manual_dir."
        ) from None
    except (OSError, ImportError) as error:
        raise Refused(f"cannot prepare {name!r} in {builder.data_dir}: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
