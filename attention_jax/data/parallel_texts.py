"""Texts in two languages, line by line: sequences to translate."""

import gzip
import zlib
from pathlib import Path

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.data.dataset import Dataset, register
from attention_jax.data.pairs import PairTexts, pairs_dataset
from attention_jax.data.subwords import Subwords
from attention_jax.data.text import TEXTS, decode, place, universal_newlines


@register
def parallel_texts(
    *,
    folder: str,
    length: int,
    source: str = "en",
    target: str = "de",
    train: str = "train",
    validation: str = "val",
    tests: tuple[str, ...] = (),
    vocabulary_size: int = 8000,
    lowercase: bool = False,
    buckets: int | tuple[int, ...] = 6,
) -> Dataset:
    """Returns the pairs of parallel texts: source, inputs and targets in subwords, as `Pairs.gather` lays them out.

    A set has a UTF-8 file for each language, such as train.en and train.de, and each line of one is the translation of
    the same line of the other; either may be compressed, train.en.gz, which is read where there is no plain one. The
    ends of lines may be those of any system. The subwords are one vocabulary over both languages, learnt from the
    training texts: see `Subwords`. A pair of more tokens than `length` is left out of the train split, and cut in the
    others; the notes say how many.

    Each batch has pairs of one bucket, which their sources and targets are padded to.

    Args:
      folder: of the files; where there is none of this path, it is looked for within the folder that the environment's
        TEXTS_DATA_DIR names, so that a config is the same on every machine.
      length: the most tokens of a source or a target, the end token among them; at least 2.
      source, target: the languages, which the names of the files end in.
      train, validation: what the names of the files of these splits begin with.
      tests: likewise of the test sets: the first is the split "test", each other the split of that name; () is none.
      vocabulary_size: tokens, at least 259; there are fewer where no two subwords come together twice.
      lowercase: whether the texts are read in lower case.
      buckets: how many lengths pairs are padded to, which are then chosen for the fewest tokens; or the lengths,
        rising, the last of them `length`; () pads all to `length`.

    Raises:
      Refused: a file cannot be read or is empty, or the two of a set differ in their lines; an option cannot be used;
        or every training pair is too long.
    """
    if source == target:
        raise Refused(f"parallel_texts source and target are both {source!r}: give two languages.")
    if length < 2:
        raise Refused(f"parallel_texts length={length}: give at least 2, for a token and the end token.")
    names = ["train", "validation", *(["test"] if tests else []), *tests[1:]]
    stems = [train, validation, *tests]
    if min(len({*names}), len({*stems})) < len(stems):
        raise Refused(
            f"parallel_texts has the sets {', '.join(map(repr, stems))} for the splits {', '.join(map(repr, names))}: "
            "each must be there once."
        )
    texts = {split: _read(folder, stem, source, target) for split, stem in zip(names, stems, strict=True)}
    joint = [*texts["train"].source, *texts["train"].target]
    return pairs_dataset(
        texts,
        Subwords(joint, vocabulary_size=vocabulary_size, lowercase=lowercase),
        source_length=length,
        target_length=length,
        buckets=buckets,
        owner=f"parallel texts of {folder!r}",
    )


def _read(folder: str, stem: str, source: str, target: str) -> PairTexts:
    there = place(folder)
    pair = PairTexts(*(_lines(there, f"{stem}.{language}") for language in (source, target)))
    if len(pair.source) != len(pair.target):
        raise Refused(
            f"{stem}.{source} of {folder!r} has {len(pair.source)} lines and {stem}.{target} {len(pair.target)}: each "
            "line of one must be the translation of the same line of the other."
        )
    return pair


def _lines(folder: Path, name: str) -> list[str]:
    path = folder / name
    if not path.is_file():
        path = folder / f"{name}.gz"
    try:
        content = path.read_bytes()
        text = gzip.decompress(content) if path.suffix == ".gz" else content
    except FileNotFoundError:
        raise Refused(_absent(folder, name)) from None
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(f"text file {str(path)!r} cannot be read: {error}. Give a text file, or one of gzip.") from None
    lines = universal_newlines(decode(text, f"text file {str(path)!r}")).removesuffix("\n").split("\n")
    if lines == [""]:
        raise Refused(f"text file {str(path)!r} is empty: give one with a text on each line.")
    return lines


def _absent(folder: Path, name: str) -> str:
    if not folder.is_dir():
        return (
            f"folder {str(folder)!r} of parallel texts is not there: give the path of a folder, or of one within "
            f"the folder that {TEXTS} names."
        )
    there = sorted({path.name.removesuffix(".gz") for path in folder.iterdir()})
    return f"folder {str(folder)!r} has no file {name} or {name}.gz.{did_you_mean(name, there)}"
