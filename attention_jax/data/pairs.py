"""Pairs of sequences, a source and the target that it is to be turned into, in batches of similar lengths."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.base.errors import Refused
from attention_jax.data.buckets import lengths_of
from attention_jax.data.dataset import Dataset, Source, Tokenizer
from attention_jax.data.packing import bucketed, padded
from attention_jax.data.words import BEGIN, END, PADDING


class PairTexts(NamedTuple):
    """The sources of a split, N texts, and the target of each."""

    source: list[str]
    target: list[str]


class Tokens:
    """N sequences of tokens, each with its end token.

    Attributes:
      lengths: [N], the tokens of each.
    """

    def __init__(self, texts: Sequence[Sequence[int]]):
        """Keeps the tokens of texts, and puts the end token after each."""
        self.lengths = np.array([len(text) + 1 for text in texts], np.int32)
        self._ids = np.array([token for text in texts for token in (*text, END)], np.int32)
        self._starts = np.cumsum(self.lengths) - self.lengths

    def padded(self, indices: np.ndarray, *, width: int) -> np.ndarray:
        """Returns the sequences `indices` ([B]), int32 [B, width], padded with 0."""
        return padded(self._ids, self._starts[indices], self.lengths[indices], width=width)


class Fitted(NamedTuple):
    """The N pairs of a split, none too long.

    Attributes:
      texts: as the data set has them.
      source, target: their tokens.
      most: tokens of a source and of a target.
      too_long: how many were left out or cut.
    """

    texts: PairTexts
    source: Tokens
    target: Tokens
    most: tuple[int, int]
    too_long: int


class Pairs:
    """A split of pairs, each padded when it is asked for.

    Attributes:
      texts: the N pairs as the data set has them.
      padded_lengths: [N], the bucket of each: its source and its target are padded to it, though neither to more than
        a source or a target may have.
    """

    def __init__(self, pairs: Fitted, buckets: Sequence[int]):
        """Keeps the pairs; `buckets` are the lengths that they are padded to, rising, the last for the longest."""
        self.texts, self._source, self._target, self._most, _ = pairs
        self.padded_lengths = bucketed(np.maximum(self._source.lengths, self._target.lengths), buckets)

    def __len__(self) -> int:
        return len(self.padded_lengths)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the pairs `indices` ([B]) padded with 0 to the longest bucket of them.

        source [B, S], its end token with it, and source_lengths [B]; targets [B, T], with the end token, and inputs
        [B, T], the begin token and the targets but the last; target_lengths [B], the real ones of either; all int32;
        weights float32 [B, T], 1 on the real targets.
        """
        bucket = int(self.padded_lengths[indices].max())
        source_width, width = (min(bucket, most) for most in self._most)
        lengths = self._target.lengths[indices]
        targets = self._target.padded(indices, width=width)
        inputs = np.concatenate([np.full((len(lengths), 1), BEGIN, np.int32), targets[:, :-1]], axis=1)
        real = np.arange(width) < lengths[:, None]
        return {
            "source": self._source.padded(indices, width=source_width),
            "source_lengths": self._source.lengths[indices],
            "inputs": np.where(real, inputs, PADDING),
            "target_lengths": lengths,
            "targets": targets,
            "weights": real.astype(np.float32),
        }


def pairs_dataset(
    texts: Mapping[str, PairTexts],
    tokenizer: Tokenizer,
    *,
    source_length: int,
    target_length: int,
    buckets: int | tuple[int, ...],
    owner: str,
) -> Dataset:
    """Returns a data set of pairs.

    A training pair of more tokens than may be is left out, one of another split is cut; the notes say how many.

    Args:
      texts: of each split.
      tokenizer: of sources and targets.
      source_length, target_length: the most tokens of a source and of a target, the end token among them; at least 2.
      buckets: see `lengths_of`.
      owner: how a message names the data set.

    Raises:
      Refused: the buckets cannot be used, or every training pair is left out.
    """
    parts = {
        split: _fitted(part, tokenizer, most=(source_length, target_length), leave_out=split == "train")
        for split, part in texts.items()
    }
    notes = tuple(
        f"{owner}: {part.too_long} of {len(texts[split].source)} {split} pairs have more than {source_length} tokens "
        f"in the source or {target_length} in the target, and are {'left out' if split == 'train' else 'cut'}"
        for split, part in parts.items()
        if part.too_long
    )
    train = parts["train"]
    if not train.texts.source:
        raise Refused(f"{notes[0]}; no training pair is left: allow longer ones.")
    trained = np.maximum(train.source.lengths, train.target.lengths)
    lengths = lengths_of(buckets, longest=max(source_length, target_length), lengths=trained)
    splits: dict[str, Source] = {split: Pairs(part, lengths) for split, part in parts.items()}
    facts = {
        "vocabulary": tokenizer.vocabulary,
        "vocabulary_size": len(tokenizer.vocabulary),
        "source_length": source_length,
        "target_length": target_length,
        "padding": PADDING,
        "begin": BEGIN,
        "end": END,
    }
    return Dataset(splits, facts, tokenizer, notes)


def _fitted(texts: PairTexts, tokenizer: Tokenizer, *, most: tuple[int, int], leave_out: bool) -> Fitted:
    """Returns the pairs of a split without those that are too long, or with these cut."""
    sides = [tokenizer.tokenize(side) for side in texts]
    # One less than there may be: the end token.
    fits = [len(source) < most[0] and len(target) < most[1] for source, target in zip(*sides, strict=True)]
    kept = [number for number, fit in enumerate(fits) if fit or not leave_out]
    source, target = (
        Tokens([side[number][: length - 1] for number in kept]) for side, length in zip(sides, most, strict=True)
    )
    kept_texts = PairTexts(*([side[number] for number in kept] for side in texts))
    return Fitted(kept_texts, source, target, most, too_long=fits.count(False))
