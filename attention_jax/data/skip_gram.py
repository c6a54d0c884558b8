"""Words and the words around them in running texts, as word2vec learns from: Mikolov et al. 2013."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.dataset import Dataset, Source, register
from attention_jax.data.running_text import running_texts
from attention_jax.data.seeds import check_seed
from attention_jax.data.table import Form, read_table, separator_of
from attention_jax.data.text import place

# A word with what an apostrophe joins to it; marks and numbers alone are none.
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
# Negatives are drawn by the counts of words to this power (Mikolov et al. 2013, section 2.2).
_POWER = 0.75


@register
def skip_gram(
    *,
    texts: tuple[str, ...],
    pairs: str | None = None,
    window: int = 5,
    min_count: int = 5,
    subsample: float = 1e-3,
    negatives: int = 15,
    draws: int = 5,
    validation_fraction: float = 0.01,
    seed: int = 0,
) -> Dataset:
    """Returns each word of running texts with its context words: fields as of `SkipGrams.gather`.

    Words are in lower case, in the order of their counts, those that are seen less than `min_count` times left out. No
    context goes beyond a line. Frequent words are left out at random, so that those of frequency f stay with
    probability sqrt(t / f) + t / f, as in the published program, before windows are laid.

    Args:
      texts: sources, as of `running_texts`.
      pairs: a table of two words and a rating of how near they are on each line, with or without a header, which the
        validation split carries to be scored by; looked for within TEXTS_DATA_DIR too. None is none.
      window: the most words on each side; the size of each window is drawn from 1 to it.
      min_count: of words in the training lines.
      subsample: t; 0 leaves no word out.
      negatives: words drawn beside each center, by their counts to the power 3/4; all contexts of it share them.
      draws: how many times the texts are gone through, each time other words are left out and other windows drawn; the
        examples of all are the train split.
      validation_fraction: of the lines.
      seed: fixes all draws; 0 to 2^32 - 1.

    Raises:
      Refused: a source or the table cannot be read, an option cannot be used, or no word is left.
    """
    check_seed(seed, name="skip_gram seed")
    for name, value in (("window", window), ("min_count", min_count), ("negatives", negatives), ("draws", draws)):
        if value < 1:
            raise Refused(f"skip_gram {name}={value}: give at least 1.")
    if not texts or subsample < 0 or not 0 < validation_fraction < 1:
        raise Refused(
            f"skip_gram has texts={texts!r}, subsample={subsample} and validation_fraction={validation_fraction}: give "
            "a text at least, 0 or more, and a share between 0 and 1."
        )
    lines = [_WORD.findall(line.lower()) for source in texts for line in running_texts(source)]
    order = np.random.default_rng(seed).permutation(len(lines))
    held_out = max(1, round(validation_fraction * len(lines)))
    parts = {"train": sorted(order[held_out:]), "validation": sorted(order[:held_out])}
    counts = Counter(word for line in parts["train"] for word in lines[line])
    words = [word for word, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])) if count >= min_count]
    if len(words) < 2:
        raise Refused(
            f"the texts {texts!r} have {len(words)} words {min_count} times or more, so the vocabulary is of size "
            f"{len(words)}: give more text, or a smaller min_count."
        )
    number = {word: place for place, word in enumerate(words)}
    frequency = np.array([counts[word] for word in words], np.float64)
    rated = _Rated([], np.zeros((0, 2), np.int32), np.zeros(0)) if pairs is None else _rated(pairs, number)
    splits: dict[str, Source] = {}
    for split, part in parts.items():
        numbered = [np.array([number[word] for word in lines[line] if word in number], np.int32) for line in part]
        times = draws if split == "train" else 1
        thinned = _Thinned(numbered, frequency, subsample, times, seed)
        of_split = rated if split == "validation" else None
        splits[split] = SkipGrams(thinned, frequency, window=window, negatives=negatives, seed=seed, rated=of_split)
    _check_room(splits, rated)
    return Dataset(splits, {"vocabulary": words, "vocabulary_size": len(words)}, notes=_notes(rated, pairs))


class SkipGrams:
    """Words of a text as centers, each with the words around it.

    Attributes:
      ratings: [P], how near the words of each pair are, that of row p; empty where the split has no pairs.
    """

    def __init__(
        self,
        text: "_Thinned",
        frequency: np.ndarray,
        *,
        window: int,
        negatives: int,
        seed: int,
        rated: "_Rated | None",
    ):
        """Keeps a text.

        Args:
          text: its words.
          frequency: [V], the count of each word.
          window: the most words on each side.
          negatives: how many are drawn beside each center.
          seed: of draws.
          rated: pairs of words that its first rows carry.
        """
        self._text, self._window, self._negatives, self._seed = text, window, negatives, seed
        likely = np.cumsum(frequency**_POWER)
        self._likely = likely / likely[-1]
        self._pairs = np.zeros((0, 2), np.int32) if rated is None else rated.words
        self.ratings = np.zeros(0) if rated is None else rated.ratings

    def __len__(self) -> int:
        return len(self._text.words)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the words `indices` ([B]): center int32 [B]; contexts int32 [B, 2 W], the words before it and after
        it, with weights float32 [B, 2 W], 1 within the window that was drawn and the line; negatives int32 [B, K]; pair
        int32 [B, 2], the two words of the pair of that row, 0 where it has none.
        """
        words, line = self._text.words, self._text.line
        drawn = _uniform(self._seed, indices, 1 + self._negatives)
        reach = 1 + (drawn[:, 0] * self._window).astype(int)
        offsets = np.array([step for step in range(-self._window, self._window + 1) if step])
        places = np.asarray(indices)[:, None] + offsets
        within = np.clip(places, 0, len(words) - 1)
        there = (within == places) & (line[within] == line[indices][:, None]) & (abs(offsets) <= reach[:, None])
        pair = np.zeros((len(indices), 2), np.int32)
        carried = np.flatnonzero(np.asarray(indices) < len(self._pairs))
        pair[carried] = self._pairs[np.asarray(indices)[carried]]
        return {
            "center": words[indices],
            "contexts": np.where(there, words[within], 0).astype(np.int32),
            "weights": there.astype(np.float32),
            "negatives": np.searchsorted(self._likely, drawn[:, 1:], side="right").astype(np.int32),
            "pair": pair,
        }


class _Thinned:
    """A text, gone through several times, frequent words left out.

    Attributes:
      words: [N] int32.
      line: [N], the line that each stands in, another number each time.
    """

    def __init__(self, lines: Sequence[np.ndarray], counts: np.ndarray, subsample: float, times: int, seed: int):
        words = np.concatenate([*lines, np.zeros(0, np.int32)])
        line = np.repeat(np.arange(len(lines)), [len(one) for one in lines])
        share = counts / counts.sum()
        stays = np.minimum(1, np.sqrt(subsample / share) + subsample / share) if subsample else np.ones(len(counts))
        kept = [np.random.default_rng([seed, time]).random(len(words)) < stays[words] for time in range(times)]
        self.words = np.concatenate([words[one] for one in kept])
        self.line = np.concatenate([line[one] + time * len(lines) for time, one in enumerate(kept)])


class _Rated:
    """Pairs of words and their ratings.

    Attributes:
      unknown: the pairs of which a word is not in the vocabulary.
      words: [P, 2] int32, the others.
      ratings: [P].
    """

    def __init__(self, unknown: list[tuple[str, str]], words: np.ndarray, ratings: np.ndarray):
        self.unknown, self.words, self.ratings = unknown, words, ratings


def _rated(path: str, number: dict[str, int]) -> _Rated:
    table = read_table(str(place(path)), Form(separator_of(path) if path.endswith((".csv", ".tsv")) else "\t", False))
    unknown, words, ratings = [], [], []
    for line, row in zip(table.lines, table.rows, strict=True):
        try:
            first, second, rating = row[0].lower(), row[1].lower(), float(row[2])
        except (IndexError, ValueError):
            if line == 1:
                continue  # a header
            raise Refused(f"line {line} of {path!r} is {row!r}: give two words and a number, a tab apart.") from None
        if first in number and second in number:
            words.append((number[first], number[second]))
            ratings.append(rating)
        else:
            unknown.append((first, second))
    if len(words) < 2:
        raise Refused(f"{path!r} has {len(words)} pairs of words of the texts: give pairs that occur, or more text.")
    return _Rated(unknown, np.array(words, np.int32), np.array(ratings))


def _check_room(splits: dict[str, Source], rated: _Rated) -> None:
    for split, source in splits.items():
        least = max(1, len(rated.words) if split == "validation" else 1)
        if len(source) < least:
            raise Refused(
                f"skip_gram's {split} split has {len(source)} words, and {least} are needed: give more text, or "
                "another validation_fraction."
            )


def _notes(rated: _Rated, path: str | None) -> tuple[str, ...]:
    if path is None or not rated.unknown:
        return ()
    every = len(rated.unknown) + len(rated.words)
    first = " and ".join(rated.unknown[0])
    return (f"{len(rated.words)} of the {every} pairs of {path!r} are of words of the texts; not so {first}",)


def _uniform(seed: int, rows: np.ndarray, count: int) -> np.ndarray:
    """Returns numbers in [0, 1), [B, count], that the seed and the row fix: SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        state: np.ndarray = np.asarray(rows, np.uint64)[:, None] * np.uint64(count) + np.arange(
            1, count + 1, dtype=np.uint64
        )
        state = (state + (np.uint64(seed) << np.uint64(40))) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
        return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
