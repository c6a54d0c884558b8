"""Text as numbers: read, checked to be UTF-8, and its characters numbered by one vocabulary."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from attention_jax.base.errors import Refused

# Token 0, where a vocabulary has one: what the training text does not have.
UNKNOWN = "<unknown>"
# The variable of the environment that names a folder of files and folders of texts.
TEXTS = "TEXTS_DATA_DIR"


class Characters:
    """The characters of a text, each a token.

    Attributes:
      vocabulary: the sorted characters; token 0 is "<unknown>" where rare ones are one.
    """

    def __init__(self, vocabulary: list[str], *, owner: str):
        """Numbers the characters.

        Args:
          vocabulary: as `encode` returns it.
          owner: how a message names the data set.
        """
        self._numbers = {character: number for number, character in enumerate(vocabulary)}
        self._owner = owner
        self.vocabulary = vocabulary

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the tokens of each text, one a character.

        Raises:
          Refused: a character is not in the vocabulary, which has no "<unknown>".
        """
        rare = self._numbers.get(UNKNOWN)
        unknown = [character for text in texts for character in text if character not in self._numbers]
        if unknown and rare is None:
            raise Refused(
                f"the vocabulary of {self._owner!r} has no character {unknown[0]!r}: leave it out; the "
                f"{len(self.vocabulary)} that it has are those of its train text."
            )
        return [[self._numbers.get(character, rare or 0) for character in text] for text in texts]

    def detokenize(self, ids: Iterable[int]) -> str:
        """Returns the text of the tokens."""
        return "".join(self.vocabulary[token] for token in ids)


def place(path: str) -> Path:
    """Returns where a file or folder lies: as it is named, or else within the folder that `TEXTS` names."""
    within = Path(os.environ.get(TEXTS, ""), path)
    return within if TEXTS in os.environ and not Path(path).exists() else Path(path)


def read_text(path: str) -> str:
    """Returns the text of a UTF-8 file as Python's own text mode reads it: the ends of lines, of Unix, Windows (CR LF)
    and the old Macintosh (CR), are all "\\n". A byte order mark at its start is no part of it.

    Raises:
      Refused: the file cannot be read, or is not UTF-8.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise Refused(f"text file {path!r} cannot be read: {error.strerror}. Give the path of a text file.") from None
    return universal_newlines(decode(content, f"text file {path!r}"))


def universal_newlines(text: str) -> str:
    """Returns a text with "\\n" for each CR LF and each CR."""
    return re.sub("\r\n?", "\n", text)


def decode(content: bytes, name: str) -> str:
    """Returns UTF-8 bytes as text, without the byte order mark that editors put before it.

    Args:
      content: the bytes.
      name: what the message calls them.

    Raises:
      Refused: they are not UTF-8.
    """
    try:
        return content.decode("utf-8").lstrip("\ufeff")
    except UnicodeDecodeError as error:
        # A line ends in "\n", in "\r", or in both of them.
        line = 1 + universal_newlines(content[: error.start].decode("latin-1")).count("\n")
        raise Refused(
            f"{name} is not UTF-8 (line {line}, byte {error.start} is {content[error.start]:#04x}): convert it."
        ) from None


def held_out(length: int, fraction: float) -> int:
    """Returns where the validation part of something of that length starts: it is the last `fraction` of it, rounded.

    Raises:
      Refused: the fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise Refused(f"validation_fraction must be between 0 and 1, got {fraction}.")
    return length - round(fraction * length)


def encode(texts: Mapping[str, str], name: str, *, min_count: int = 0) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the text of each split as ids int32 [characters], and the vocabulary: the sorted training characters.

    Args:
      texts: split to text, "train" among them.
      name: of the data set.
      min_count: where it is 1 or more, id 0 is "<unknown>", and stands for what the training text has less often.

    Raises:
      Refused: a split has a character that the training text has not, and `min_count` is 0.
    """
    codes = {split: np.frombuffer(text.encode("utf-32-le"), np.uint32) for split, text in texts.items()}
    vocabulary, counts = np.unique(codes["train"], return_counts=True)
    if min_count:
        vocabulary = vocabulary[counts >= min_count]
        places = {split: np.searchsorted(vocabulary, text) for split, text in codes.items()}
        padded = np.append(vocabulary, 0)
        ids = {split: np.where(padded[place] == codes[split], place + 1, 0) for split, place in places.items()}
        return {split: part.astype(np.int32) for split, part in ids.items()}, [UNKNOWN, *map(chr, vocabulary)]
    ids = {}
    for split, text in codes.items():
        unknown = np.setdiff1d(text, vocabulary)
        if len(unknown):
            raise Refused(
                f"the {split} text of {name!r} has the character {chr(unknown[0])!r}, which the train text has not: "
                "remove it, or add it to the train text."
            )
        ids[split] = np.searchsorted(vocabulary, text).astype(np.int32)
    return ids, [chr(code) for code in vocabulary]
