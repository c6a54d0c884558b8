"""Documents of any length in rows: several in one row, or one in a row of the shortest length that holds it.

Documents longer than a row are cut into pieces first; each piece is then a document of its own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from attention_jax.base.errors import Refused


class Pieces(NamedTuple):
    """Parts of documents, each with a token to predict after every token.

    Attributes:
      starts: [P], where each begins in the text of all documents.
      lengths: [P], the tokens in each, at least 1; the target of the last is the character after it.
    """

    starts: np.ndarray
    lengths: np.ndarray


def cut(document_lengths: np.ndarray, *, longest: int) -> Pieces:
    """Cuts documents that follow one another into pieces of at most `longest` tokens.

    The next piece of a document begins with the last target of the piece before it, so each character but the first of
    a document is the target of exactly one token. A document of fewer than two characters has no target and no piece.

    Args:
      document_lengths: characters in each document, [documents].
      longest: the most tokens of a piece.
    """
    tokens = np.maximum(document_lengths - 1, 0)
    pieces = -(-tokens // longest)
    number = ragged_arange(pieces)
    starts = np.repeat(np.cumsum(document_lengths) - document_lengths, pieces) + number * longest
    return Pieces(starts, np.minimum(np.repeat(tokens, pieces) - number * longest, longest))


def best_fit_decreasing(lengths: np.ndarray, *, capacity: int) -> np.ndarray:
    """Returns the row that each piece is packed into, [P]: 0, 1, 2 ...

    The longest first, each into the fullest row that has room for it (Johnson et al. 1974, "Worst-case performance
    bounds for simple one-dimensional packing algorithms": at most 11/9 of the fewest rows possible, and 4 more). The
    same lengths always give the same rows.

    Args:
      lengths: tokens in each piece, [P], 1 to `capacity`.
      capacity: tokens in a row.
    """
    rows = np.empty(len(lengths), np.int64)
    with_room: list[list[int]] = [[] for _ in range(capacity + 1)]  # rows by the tokens that they have room for
    # Bit r is set where there is a row with room for exactly r tokens: the lowest of some bits is found at once.
    rooms = 0
    made = 0
    for piece in np.argsort(-lengths, kind="stable"):
        length = int(lengths[piece])
        enough = rooms >> length
        if enough:
            room = length + (enough & -enough).bit_length() - 1
            row = with_room[room].pop()
            rooms ^= (not with_room[room]) << room
        else:
            room, row, made = capacity, made, made + 1
        rows[piece] = row
        with_room[room - length].append(row)
        rooms |= 1 << (room - length)
    return rows


class Rows:
    """Rows of pieces, laid out when they are asked for: nothing but the text and where the pieces are is held.

    Attributes:
      padded_lengths: [R], tokens in each row, padding included.
      efficiency: the share of all tokens that is not padding.
    """

    def __init__(self, ids: np.ndarray, pieces: Pieces, *, rows: np.ndarray, padded_lengths: np.ndarray, packed: bool):
        """Keeps the pieces in the order of their rows.

        Args:
          ids: the text of all documents, integers [characters].
          pieces: the parts of it, [P].
          rows: [P], the row of each, every one of 0 ... R - 1 among them.
          padded_lengths: [R], tokens in each row; a row's pieces fit into it.
          packed: whether a row may hold several pieces, which are told apart by segments and positions.
        """
        in_order = np.argsort(rows, kind="stable")
        counts = np.bincount(rows)
        self._ids = ids
        self._starts, self._piece_lengths = pieces.starts[in_order], pieces.lengths[in_order]
        self._first = np.concatenate([[0], np.cumsum(counts)])
        ends = np.concatenate([[0], np.cumsum(self._piece_lengths)])
        self._offsets = ends[:-1] - np.repeat(ends[self._first[:-1]], counts)
        self._packed = packed
        self.padded_lengths = padded_lengths
        self.efficiency = float(ends[-1] / padded_lengths.sum())

    def __len__(self) -> int:
        return len(self.padded_lengths)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the rows `indices` ([B]), padded with 0 to the longest of them: arrays [B, T].

        inputs, targets int32 and weights float32 (0 on padding); of packed rows segments int32 (1, 2 ... by document, 0
        on padding) and positions int32 (0, 1 ... in each document) too, of others lengths int32 [B], the tokens that
        are no padding.
        """
        indices = np.asarray(indices)
        shape = len(indices), int(self.padded_lengths[indices].max())
        counts = self._first[indices + 1] - self._first[indices]
        number = ragged_arange(counts)
        piece = np.repeat(self._first[indices], counts) + number
        lengths = self._piece_lengths[piece]
        position = ragged_arange(lengths)
        row_starts = np.repeat(np.arange(len(indices)) * shape[1], counts)
        place = np.repeat(row_starts + self._offsets[piece], lengths) + position
        origin = np.repeat(self._starts[piece], lengths) + position

        def laid(values: np.ndarray | float, dtype: type) -> np.ndarray:
            array: np.ndarray = np.zeros(shape, dtype)
            array.reshape(-1)[place] = values
            return array

        batch = {
            "inputs": laid(self._ids[origin], np.int32),
            "targets": laid(self._ids[origin + 1], np.int32),
            "weights": laid(1.0, np.float32),
        }
        if self._packed:
            batch["segments"] = laid(np.repeat(number + 1, lengths), np.int32)
            batch["positions"] = laid(position, np.int32)
        else:
            batch["lengths"] = lengths.astype(np.int32)
        return batch


def check_rows(context: int, buckets: Sequence[int], *, name: str = "context") -> None:
    """Checks the lengths that rows may have.

    Args:
      context: the most tokens in a row.
      buckets: the lengths of rows, rising, the last of them `context`; none is one length, or packs.
      name: of the option that `context` is.

    Raises:
      Refused: they are not whole numbers of at least 1 that rise to `context`.
    """
    if context < 1:
        raise Refused(f"{name} must be at least 1 token, got {context}.")
    whole = all(isinstance(length, int) for length in buckets)
    if buckets and not (whole and buckets[0] > 0 and list(buckets) == sorted({*buckets}) and buckets[-1] == context):
        raise Refused(
            f"buckets {tuple(buckets)} must be whole numbers of at least 1, rising, the last of them {name}, {context}."
        )


def bucketed(lengths: np.ndarray, buckets: Sequence[int]) -> np.ndarray:
    """Returns the shortest of the rising `buckets` that holds each of the lengths, [N]; the last holds them all."""
    return np.array(buckets)[np.searchsorted(buckets, lengths)]


def padded(ids: np.ndarray, starts: np.ndarray, lengths: np.ndarray, *, width: int) -> np.ndarray:
    """Returns sequences that lie one after another, each in a row of its own and padded with 0: int32 [B, width].

    Args:
      ids: all of them, integers [tokens].
      starts: where each begins, [B].
      lengths: the tokens of each, [B], at most `width`.
      width: tokens in a row.
    """
    rows = np.zeros((len(lengths), width), np.int32)
    real = np.arange(width) < lengths[:, None]
    rows[real] = ids[np.repeat(starts, lengths) + ragged_arange(lengths)]
    return rows


def ragged_arange(counts: np.ndarray) -> np.ndarray:
    """Returns 0 ... counts[0] - 1, then 0 ... counts[1] - 1, and so on, [sum of counts]."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
