"""Sentences of words with a tag each: from CoNLL-U and files of columns, and from prepared TFDS sets."""

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from attention_jax.base.errors import Refused
from attention_jax.data.text import decode, place, universal_newlines
from attention_jax.data.tfds_source import open_prepared, read

# The head that TFDS gives a token of a treebank which is no word of the sentence.
_NO_HEAD = b"None"
CONLLU = (".conllu", ".conllu.gz")


class Sentence(NamedTuple):
    """A sentence.

    Attributes:
      words: as they are written.
      tags: one of each; empty where none are read.
      where: what messages call it.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    where: str


def read_sentences(path: str, columns: tuple[int, int]) -> list[Sentence]:
    """Returns the sentences of a file of columns, a token on each line and a blank line after each sentence.

    Columns are parted by tabs, and lines without a tab that begin with "#" are comments; in a file without a tab they
    are parted by blanks, and there are no comments. In a file named .conllu, tokens whose number is a range ("4-5") or
    a fraction ("8.1") are no words of the sentence, as the format has it. A file named .gz is unpacked.

    Args:
      path: of a UTF-8 file; looked for within TEXTS_DATA_DIR too.
      columns: of the word and of the tag, from 1; of CoNLL-U (2, 4) is the universal part of speech.

    Raises:
      Refused: the file cannot be read, a line has too few columns or an empty one, or there is no sentence.
    """
    content, of_conllu = _content(path), path.endswith(CONLLU)
    separator = "\t" if "\t" in content else None
    sentences: list[Sentence] = []
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*content.split("\n"), ""], start=1):
        if not line.strip():
            if words:
                sentences.append(Sentence(tuple(words), tuple(tags), f"the sentence before line {number} of {path!r}"))
            words, tags = [], []
            continue
        fields = line.split(separator)
        comment = separator and line.startswith("#") and len(fields) == 1
        if comment or (of_conllu and not fields[0].isdigit()):
            continue
        if len(fields) < max(columns) or not all(fields[column - 1] for column in columns):
            raise Refused(
                f"line {number} of {path!r} has {len(fields)} columns, and a word is read in column {columns[0]} and "
                f"its tag in {columns[1]}: write both, or set data.columns."
            )
        words.append(fields[columns[0] - 1])
        tags.append(fields[columns[1] - 1])
    if not sentences:
        raise Refused(f"{path!r} has no sentence: give a token on each line, and a blank line after each sentence.")
    return sentences


def tfds_sentences(dataset: str, split: str, fields: Mapping[str, str]) -> list[Sentence]:
    """Returns the sentences of a split of a prepared TFDS set; of a treebank, the words that have a head.

    Args:
      dataset: TFDS's name.
      split: of the set.
      fields: which of its sequences are the "words" and the "tags".

    Raises:
      Refused: the set, the split or a field is not there, or a field is no sequence of texts or classes.
    """
    builder = open_prepared(dataset)
    features = builder.info.features
    for name in ("words", "tags"):
        if fields.get(name) not in features:
            known = ", ".join(sorted(features))
            raise Refused(f"data.fields.{name}={fields.get(name)!r} is no field of {dataset!r}: it has {known}.")
    names = getattr(getattr(features[fields["tags"]], "feature", None), "names", None)
    sentences = []
    for number, example in enumerate(read(builder, split)):
        words, tags = example[fields["words"]], example[fields["tags"]]
        heads = example.get("head", [b""] * len(words))
        if not len(words) == len(tags) == len(heads):
            raise Refused(f"example {number} of {dataset!r} has {len(words)} words and {len(tags)} tags.")
        kept = [place for place, head in enumerate(heads) if head != _NO_HEAD]
        where = f"example {number} of {dataset!r}, {split}"
        sentences.append(
            Sentence(
                tuple(_text(words[place], where) for place in kept),
                tuple(names[int(tags[place])] if names else _text(tags[place], where) for place in kept),
                where,
            )
        )
    return [sentence for sentence in sentences if sentence.words]


def _text(value: Any, where: str) -> str:
    if not isinstance(value, bytes):
        raise Refused(f"{where} has {value!r} where a word or a tag is read: set data.fields to fields of texts.")
    return decode(value, where)


def _content(path: str) -> str:
    name = f"file {path!r}"
    try:
        content = Path(place(path)).read_bytes()
        content = gzip.decompress(content) if path.endswith(".gz") else content
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refused(f"{name} cannot be read ({reason}): give a file of columns, such as CoNLL-U.") from None
    return universal_newlines(decode(content, name))
