"""Word vectors in the two formats of the word2vec program (Mikolov et al. 2013), which gensim and fastText have too.

Both begin with a line of the numbers of words and of dimensions. In the text format each line is a word and its
numbers, parted by blanks. In the binary one each word is followed by a blank and its numbers as little-endian float32,
with or without an end of line after them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from attention_jax.base.errors import Refused

BINARY = ".bin"


class WordVectors(NamedTuple):
    """The vectors [V, D] float32 of V words."""

    words: list[str]
    vectors: Float[np.ndarray, "V D"]


def write_word_vectors(path: Path, words: Sequence[str], vectors: Float[np.ndarray, "V D"]) -> None:
    """Writes vectors: binary where the path ends in .bin, text elsewhere.

    Args:
      path: the file.
      words: V of them, none with a blank in it.
      vectors: [V, D].

    Raises:
      Refused: there is none, a word is empty or has a blank, or the file cannot be written.
    """
    if not len(words):
        raise Refused("there is no word to write: the vocabulary is of size 0.")
    for word in words:
        if not word or word.split() != [word]:
            raise Refused(f"the word {word!r} cannot be written, for a blank parts it from its vector: leave it out.")
    numbers = np.asarray(vectors, "<f4")
    head = f"{len(numbers)} {numbers.shape[1]}\n".encode()
    if path.suffix == BINARY:
        rows = [word.encode() + b" " + row.tobytes() + b"\n" for word, row in zip(words, numbers, strict=True)]
    else:
        # Nine digits give each float32 back as it was.
        rows = [
            f"{word} {' '.join(f'{number:.9g}' for number in row)}\n".encode()
            for word, row in zip(words, numbers, strict=True)
        ]
    try:
        path.write_bytes(head + b"".join(rows))
    except OSError as error:
        raise Refused(f"{str(path)!r} cannot be written ({error.strerror}): give another file.") from None


def read_word_vectors(path: Path) -> WordVectors:
    """Returns the vectors of a file: binary where its name ends in .bin, text elsewhere.

    Raises:
      Refused: it cannot be read, is not of the format or cut short, has no word, one twice, or a number that is not
        finite.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Refused(f"word vectors {str(path)!r} cannot be read ({error.strerror}): give a file that can.") from None
    head, _, rest = content.partition(b"\n")
    sizes = head.split()
    if len(sizes) != 2 or not all(size.isdigit() for size in sizes):
        raise Refused(
            f"word vectors {str(path)!r} begin with {head[:40]!r}: the first line is the numbers of words and of "
            "dimensions, such as 3000 100."
        )
    count, width = map(int, sizes)
    if not count or not width:
        raise Refused(f"word vectors {str(path)!r} have {count} words of {width} dimensions: give a file with some.")
    made = (_binary if path.suffix == BINARY else _text)(rest, count, width, str(path))
    if len({*made.words}) < count:
        twice = next(word for place, word in enumerate(made.words) if word in made.words[:place])
        raise Refused(f"word vectors {str(path)!r} have {twice!r} twice: remove one of them.")
    if not np.isfinite(made.vectors).all():
        word = made.words[int(np.flatnonzero(~np.isfinite(made.vectors).all(1))[0])]
        raise Refused(f"word vectors {str(path)!r} have a number of {word!r} that is not finite: remove the word.")
    return made


def _text(rest: bytes, count: int, width: int, path: str) -> WordVectors:
    lines = rest.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n") if rest else []
    if len(lines) != count:
        raise Refused(
            f"word vectors {path!r} have {len(lines)} words where the first line says {count}: the file is cut short "
            "or joined from several; get it again."
        )
    words, vectors = [], np.empty((count, width), np.float32)
    for place, line in enumerate(lines):
        word, *numbers = line.split()
        try:
            if len(numbers) != width:
                raise ValueError
            vectors[place] = [float(number) for number in numbers]
        except ValueError:
            raise Refused(
                f"line {place + 2} of {path!r} is not a word and {width} numbers: the file is cut short or damaged; "
                "get it again."
            ) from None
        words.append(_checked(word.encode("utf-8", "surrogateescape"), path, place))
    return WordVectors(words, vectors)


def _binary(rest: bytes, count: int, width: int, path: str) -> WordVectors:
    words, vectors, at = [], [], 0
    for place in range(count):
        blank = rest.find(b" ", at)
        end = blank + 1 + 4 * width
        if blank < 0 or end > len(rest):
            raise Refused(
                f"word vectors {path!r} end within word {place + 1} of {count}: the file is cut short; get it again."
            )
        words.append(_checked(rest[at:blank].lstrip(b"\n"), path, place))
        vectors.append(np.frombuffer(rest, "<f4", width, blank + 1))
        at = end
    if rest[at:].strip(b"\n"):
        raise Refused(f"word vectors {path!r} go on after word {count}, the last: the first line says another number.")
    return WordVectors(words, np.stack(vectors).astype(np.float32))


def _checked(word: bytes, path: str, place: int) -> str:
    try:
        return word.decode()
    except UnicodeDecodeError:
        raise Refused(
            f"word {place + 1} of {path!r}, {word[:40]!r}, is not UTF-8: the file is damaged, or of another encoding; "
            "convert it."
        ) from None
