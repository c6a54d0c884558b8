"""Tokens of sequence-to-sequence systems: what stands for no text, and words that stand between blanks."""

from collections.abc import Iterable, Sequence

from attention_jax.base.errors import Refused, did_you_mean

# The first tokens of such a vocabulary. Pieces of text follow them, so no text is taken for one of them.
PADDING, BEGIN, END = range(3)
MARKS = ("<padding>", "<begin>", "<end>")


def before_end(ids: Iterable[int]) -> list[int]:
    """Returns the pieces of text among the tokens that come before the first end token, numbered from 0."""
    pieces = []
    for token in map(int, ids):
        if token == END:
            break
        if token >= len(MARKS):
            pieces.append(token - len(MARKS))
    return pieces


class Words:
    """The words of texts, each a token.

    Attributes:
      vocabulary: what each token stands for: the marks, then the sorted words.
    """

    def __init__(self, texts: Iterable[str], *, owner: str):
        """Takes every word of the training texts.

        Args:
          texts: the training texts.
          owner: how a message names the data set.
        """
        self._words = sorted({word for text in texts for word in text.split()})
        self._numbers = {word: number for number, word in enumerate(self._words, start=len(MARKS))}
        self._owner = owner
        self.vocabulary = [*MARKS, *self._words]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the tokens of each text, without marks.

        Raises:
          Refused: a word is not among the training texts'.
        """
        unknown = {word for text in texts for word in text.split()} - self._numbers.keys()
        if unknown:
            word = min(unknown)
            raise Refused(f"{self._owner} has no word {word!r}.{did_you_mean(word, self._words)}")
        return [[self._numbers[word] for word in text.split()] for text in texts]

    def detokenize(self, ids: Iterable[int]) -> str:
        """Returns the text of the tokens before the first end token, words parted by a blank; marks are left out."""
        return " ".join(self._words[piece] for piece in before_end(ids))
