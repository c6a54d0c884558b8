"""Axial attention in a grid that the call gives, and masks that are folded with their tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, ROUNDING, error, explained, make, run
from attention_jax.kernels import Causal, Dense, Global, Padding, Refused, Segments, Window, attend, lookup
from tests.oracle.equations import equation
from tests.oracle.loops import oracle

# 22 tokens in rows of 5: the last row is short.
TOKENS = 22
HEADS_APART = np.random.default_rng(1).random((2, 4, TOKENS, TOKENS)) < 0.6
MASKS = {
    "padding": Padding(np.array([TOKENS, 9])),
    "segments": Segments(np.arange(TOKENS)[None] // np.array([[6], [11]])),
    "causal window": Causal() & Window(9),
    "or": Causal() & Window(4) | Global(2),
    "heads": Dense(HEADS_APART),
}


def test_the_grid_of_the_call_goes_before_the_option():
    inputs = make("scaled_dot", queries=12)
    found = run("axial", inputs, grid=(3, 4)).out
    everything = np.ones((2, 4, 12, 12), bool)
    assert error(found, oracle(equation("axial:columns=4"), *inputs, visible=everything).out) < ROUNDING
    with pytest.raises(Refused, match=r"grid=\(3, 5\) has 15 places for 12 queries"):
        run("axial", inputs, grid=(3, 5))


def test_along_one_axis_each_line_is_a_sequence_of_its_own():
    inputs = make("scaled_dot", queries=12)
    rows, columns = (run(f"axial:along={along}", inputs, grid=(3, 4)).out for along in ("rows", "columns"))
    by_row = (array.reshape(6, 4, *array.shape[2:]) for array in inputs[:3])
    assert error(rows, attend(*by_row).out.reshape(rows.shape)) < AGREEMENT
    by_column = (array.reshape(2, 3, 4, *array.shape[2:]).swapaxes(1, 2) for array in inputs[:3])
    alone = attend(*(array.reshape(8, 3, *array.shape[3:]) for array in by_column)).out
    assert error(columns, alone.reshape(2, 4, 3, 4, 5).swapaxes(1, 2).reshape(columns.shape)) < AGREEMENT
    assert error(run("axial", inputs, grid=(3, 4)).out, rows + columns) < AGREEMENT


@pytest.mark.parametrize("kind", MASKS)
def test_every_engine_folds_a_mask_as_the_equation_has_it(kind):
    inputs, mask = make("scaled_dot", queries=TOKENS), MASKS[kind]
    plain = np.asarray(run("scaled_dot", inputs, mask=mask, outputs=("weights",)).weights) > 0
    expected = oracle(equation("axial:columns=5"), *inputs, visible=plain).out
    for engine in ("dense", "blockwise"):
        found = jax.jit(lambda i, e=engine: run("axial:columns=5", i, mask=mask, engine=e).out)(inputs)
        assert error(found, expected) < ROUNDING, engine


def test_a_causal_mask_goes_by_positions_and_the_grid_by_places():
    inputs, turned = make("scaled_dot", queries=9), np.arange(9)[::-1]
    found = run("axial:columns=3", inputs, mask=Causal(), positions=jnp.asarray(turned)[None]).out
    later = np.broadcast_to(turned[:, None] >= turned[None], (2, 4, 9, 9))
    assert error(found, oracle(equation("axial:columns=3"), *inputs, visible=later).out) < ROUNDING


def test_each_axis_is_a_part_and_a_wrong_one_is_refused():
    parts = {candidate.problem for candidate in explained("axial", make("scaled_dot"))}
    assert parts == {"axial (along rows)", "axial (along columns)"}
    with pytest.raises(Refused, match=r"axial:along=row is none of rows, columns, both\. Did you mean 'rows'"):
        lookup("axial:along=row")
    with pytest.raises(Refused, match="axial:columns=0 leaves no place in a row"):
        lookup("axial:columns=0")
