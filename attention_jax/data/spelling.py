"""Words as the bytes that spell them: Jozefowicz et al. 2016, section 3.2, as ELMo reads them (Peters et al. 2018)."""

from collections.abc import Iterable, Sequence

import numpy as np

# 0 is beyond the end of a word; then the 256 bytes, and what stands before and after each word.
COUNT = 259
_BEGIN, _END = 257, 258


class Spelling:
    """The bytes of each word of a data set, one table for all: numbers that no training text fixes.

    Attributes:
      table: int32 [F, C], of each word, between a mark of its begin and one of its end; the first row is of none. Of a
        longer word, the first and the last bytes.
    """

    def __init__(self, words: Iterable[str], *, longest: int):
        """Spells words.

        Args:
          words: in any order, with copies.
          longest: C, at least 3; 0 spells none.
        """
        forms = list(dict.fromkeys(words)) if longest else []
        self._numbers = {form: number for number, form in enumerate(forms, start=1)}
        self.table = np.zeros((1 + len(forms), longest), np.int32)
        for form, number in self._numbers.items():
            spelt = list(form.encode("utf-8", "surrogatepass"))
            if len(spelt) > longest - 2:
                first = (longest - 1) // 2
                spelt = spelt[:first] + spelt[len(spelt) - (longest - 2 - first) :]
            self.table[number, : len(spelt) + 2] = [_BEGIN, *(1 + byte for byte in spelt), _END]

    def numbers(self, words: Sequence[str]) -> np.ndarray:
        """Returns the row of each word, int32 [words]; of all 0 where none are spelt."""
        return np.array([self._numbers.get(word, 0) for word in words], np.int32)
