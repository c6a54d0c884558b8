"""Opening TFDS data sets that lie prepared on disk. Nothing here downloads, and nothing here needs TensorFlow.

TFDS looks in the folder named by the environment variable TFDS_DATA_DIR, or else in ~/tensorflow_datasets.
"""

import difflib
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from attention_jax.base.errors import Refused

_READ_AT_ONCE = 1024  # one by one takes three times as long


def find_builder(name: str, *, data_dir: str | None = None) -> Any:
    """Returns the `tfds.core.DatasetBuilder` of `name` ("fashion_mnist", "scan/length"), prepared or not.

    Args:
      name: TFDS's name: set, set/config or set/config:version.
      data_dir: the folder of prepared sets, in place of TFDS's own.

    Raises:
      Refused: TFDS has no such set, config or version.
    """
    # Imported where it is used: most commands read no TFDS set, and it takes up to half a second.
    import tensorflow_datasets as tfds

    dataset, _, config = name.partition(":")[0].partition("/")
    try:
        with quiet():
            # TFDS reads the variable when it is imported; one that was set later would be ignored in silence.
            return tfds.builder(name, data_dir=data_dir or os.environ.get("TFDS_DATA_DIR"))
    except tfds.core.DatasetNotFoundError:
        near = _nearest(dataset, tfds.list_builders(with_community_datasets=False))
        raise Refused(
            f"TFDS has no data set {dataset!r}.{near} They are listed at https://www.tensorflow.org/datasets/catalog"
        ) from None
    except (ValueError, AssertionError, ImportError) as error:
        # TFDS puts the reason last on the first line, and raises by kind: a config, a version, a missing package.
        reason = str(error).partition("\n")[0].rpartition('": ')[2]
        configs = tfds.builder_cls(dataset).builder_configs if config else {}
        if config and config not in configs:
            reason = f"{dataset!r} has no config {config!r}.{_nearest(config, configs)}"
        raise Refused(f"TFDS cannot open {name!r}: {reason}") from None


def open_prepared(name: str) -> Any:
    """Returns the builder of the prepared TFDS set `name`, for `read`.

    Raises:
      Refused: the set is unknown, not prepared, or prepared in a format that cannot be read at random.
    """
    builder = find_builder(name)
    with quiet():
        is_prepared = builder.is_prepared()
    if not is_prepared:
        raise Refused(
            f"TFDS data set {name!r} is not prepared: looked in {builder.data_dir}. Set TFDS_DATA_DIR to the folder "
            f"that has it, or run `python launch.py prepare {name}` (needs `pip install -r requirements-prepare.txt`)."
        )
    check_format(builder)
    return builder


def check_format(builder: Any) -> None:
    """Checks that the prepared set of `builder` is stored as array_record.

    Raises:
      Refused: it is in another format, which cannot be read at random.
    """
    stored = builder.info.file_format.value
    if stored != "array_record":
        raise Refused(
            f"TFDS data set {builder.name!r} is prepared as {stored} in {builder.data_dir}, and only array_record can "
            "be read at random: remove that folder or choose another TFDS_DATA_DIR, and prepare it again."
        )


def count(builder: Any, split: str) -> int:
    """Returns the number of examples in a split of a prepared set.

    Raises:
      Refused: the set has no such split.
    """
    known = builder.info.splits
    if split not in known:
        raise Refused(f"TFDS data set {builder.name!r} has no split {split!r}: it has {', '.join(known)}.")
    return known[split].num_examples


def read(builder: Any, split: str) -> Iterator[dict[str, Any]]:
    """Yields the examples of a split of a prepared set in stored order, decoded: dicts of NumPy arrays and bytes.

    Raises:
      Refused: the set has no such split.
    """
    examples = range(count(builder, split))
    with quiet():
        records = builder.as_data_source(split=split)
    for start in examples[::_READ_AT_ONCE]:
        with quiet():
            block = records.__getitems__(list(examples[start : start + _READ_AT_ONCE]))
        yield from block


@contextmanager
def quiet() -> Iterator[None]:
    """Silences what TFDS says through logging below an error: folders it tried, a faster image decoder, retries."""
    loggers = [logging.getLogger(name) for name in ("absl", "urllib3")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _nearest(word: str, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?", or nothing: TFDS's hundreds of names are no help when none is near."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""
