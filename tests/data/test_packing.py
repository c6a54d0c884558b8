"""Cutting and packing: every token once, no row overfull, few rows."""

import numpy as np
import pytest

from attention_jax.data.packing import Pieces, Rows, best_fit_decreasing, cut, ragged_arange


@pytest.mark.parametrize("longest", [1, 3, 5, 100])
def test_every_character_but_the_first_of_a_document_is_a_target_once(longest):
    documents = np.array([0, 5, 1, 6, 2, 7, 0, 11])
    pieces = cut(documents, longest=longest)
    assert pieces.lengths.min() >= 1
    assert pieces.lengths.max() <= longest
    targets = np.repeat(pieces.starts, pieces.lengths) + ragged_arange(pieces.lengths) + 1
    starts = np.cumsum(documents) - documents
    expected = [start + place for start, length in zip(starts, documents, strict=True) for place in range(1, length)]
    np.testing.assert_array_equal(targets, expected)
    # No piece is shorter than it must be: only the last of a document may be.
    assert len(pieces.lengths) == sum(-(-(length - 1) // longest) for length in documents if length > 1)


def test_a_packing_by_hand():
    # 10 fills a row, 6 and 5 open two more; 4 goes to the 6, which has exactly its room, and 3 to the 5. Then 2, 1: the
    # first fills the row of 5 and 3, the second finds none with room.
    lengths = [2, 6, 3, 5, 4, 1, 10]
    rows = best_fit_decreasing(np.array(lengths), capacity=10)
    assert dict(zip(lengths, rows.tolist(), strict=True)) == {10: 0, 6: 1, 4: 1, 5: 2, 3: 2, 2: 2, 1: 3}


def test_the_fullest_row_with_room_is_taken():
    # 8, 7 and 6 have a row each. 3 has room in the last two and leaves less behind in that of 7; first fit would too,
    # but 2 goes to the 8, with exactly its room, and not to the 6.
    lengths = [6, 7, 8, 3, 2]
    assert best_fit_decreasing(np.array(lengths), capacity=10).tolist() == [2, 1, 0, 1, 0]


@pytest.mark.parametrize("capacity", [8, 64, 257])
def test_no_row_is_overfull_and_the_rows_are_near_the_fewest(capacity):
    lengths = np.random.default_rng(capacity).integers(1, capacity + 1, 2000)
    rows = best_fit_decreasing(lengths, capacity=capacity)
    filled = np.bincount(rows, weights=lengths)
    assert filled.max() <= capacity
    assert (filled > 0).all()
    assert len(filled) <= 11 / 9 * -(-lengths.sum() // capacity) + 4
    # Two rows that would fit into one are a row too many.
    assert np.sort(filled)[:2].sum() > capacity
    np.testing.assert_array_equal(best_fit_decreasing(lengths, capacity=capacity), rows)


@pytest.mark.parametrize("indices", [[0], [2, 0], [1, 1, 2]])
def test_rows_are_laid_out_piece_by_piece(indices):
    ids = np.arange(100, 131)
    pieces = Pieces(np.array([0, 10, 20, 25]), np.array([4, 2, 3, 5]))
    source = Rows(ids, pieces, rows=np.array([2, 0, 2, 1]), padded_lengths=np.array([7, 7, 7]), packed=True)
    assert source.efficiency == 14 / 21
    expected = {
        0: ([110, 111, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0]),
        1: ([125, 126, 127, 128, 129, 0, 0], [1, 1, 1, 1, 1, 0, 0], [0, 1, 2, 3, 4, 0, 0]),
        2: ([100, 101, 102, 103, 120, 121, 122], [1, 1, 1, 1, 2, 2, 2], [0, 1, 2, 3, 0, 1, 2]),
    }
    batch = source.gather(np.array(indices))
    for place, name in enumerate(("inputs", "segments", "positions")):
        np.testing.assert_array_equal(batch[name], [expected[index][place] for index in indices])
        assert batch[name].dtype == np.int32
    inside = batch["segments"] > 0
    np.testing.assert_array_equal(batch["weights"], inside.astype(np.float32))
    np.testing.assert_array_equal(batch["targets"], np.where(inside, batch["inputs"] + 1, 0))
