"""Texts as numbers, for data whose examples have several texts: one vocabulary of the training ones, and padding."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.packing import padded
from attention_jax.data.text import UNKNOWN

# Token 0 stands beside the real ones of a text, token 1 for what the training texts do not have.
PADDING = "<padding>"
MARKS = (PADDING, UNKNOWN)
_UNKNOWN = MARKS.index(UNKNOWN)


class Vocabulary:
    """The tokens of training texts, numbered.

    Attributes:
      tokens: what each number stands for: "<padding>", "<unknown>", further marks, and the sorted tokens.
    """

    def __init__(self, texts: Iterable[Sequence[str]], *, owner: str, min_count: int = 1, marks: tuple[str, ...] = ()):
        """Counts the tokens of the training texts.

        Args:
          texts: each as its tokens.
          owner: how a message names them.
          min_count: tokens that they have less often are unknown.
          marks: further tokens that no text has, after the two.

        Raises:
          Refused: no token is left.
        """
        counts = Counter(token for text in texts for token in text)
        known = sorted(token for token, count in counts.items() if count >= min_count and token not in marks)
        if not known:
            raise Refused(
                f"the training texts of {owner} have no token {min_count} times, so the vocabulary is of size 0: give "
                "more texts, or a smaller min_count."
            )
        self.tokens = [*MARKS, *marks, *known]
        self._numbers = {token: number for number, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def numbers(self, text: Sequence[str]) -> np.ndarray:
        """Returns the number of each token of a text, int32."""
        return np.array([self._numbers.get(token, _UNKNOWN) for token in text], np.int32)


class Ragged:
    """N sequences of unequal length, one behind the other.

    Attributes:
      lengths: [N], the tokens of each, int32.
    """

    def __init__(self, sequences: Sequence[np.ndarray]):
        """Keeps sequences [tokens] of integers."""
        self.lengths = np.array([len(sequence) for sequence in sequences], np.int32)
        self._ids = np.concatenate(sequences) if sequences else np.zeros(0, np.int32)
        self._starts = np.cumsum(self.lengths) - self.lengths

    def padded(self, indices: np.ndarray, *, width: int) -> np.ndarray:
        """Returns the sequences `indices` ([B]), int32 [B, width], padded with 0 at their end."""
        return padded(self._ids, self._starts[indices], self.lengths[indices], width=width)
