"""The order of the queue: one seed of everything, the cheapest first; what is asked for runs again."""

import pytest

from attention_jax.study.reproduction.queue import stretches, turns
from attention_jax.study.reproduction.rows import Row, find_rows
from attention_jax.study.reproduction.standing import standings
from tests.study.reproduce_cases import make_comparison, make_line, make_row
from tests.study.reproduction.test_rows import SWEEP, written

ROWS = [make_row("dear", 60.0), make_row("cheap", 1.0, seeds=(5, 6)), make_comparison()]


def order(rows: list[Row], *lines, asked=(), seeds=None) -> list[tuple[str, int | None]]:
    """Returns the row and the seed of each turn."""
    found = [standings(row, [line for line in lines if line.row == row.name]) for row in rows]
    ordered = turns(found, asked=asked, seeds=seeds)
    return [(turn.row.name, turn.cells[0].labels["seed"] if turn.cells else None) for turn in ordered]


def test_one_seed_of_everything_comes_before_the_second_and_the_cheapest_first():
    assert order(ROWS) == [
        *(("cheap", 5), ("pair", 0), ("dear", 0)),
        *(("cheap", 6), ("pair", 1), ("dear", 1)),
        *(("pair", 2), ("dear", 2)),
    ]


def test_what_has_a_result_is_left_out_and_a_stale_one_runs():
    dear = ROWS[0]
    assert order([dear], make_line(dear, 0), make_line(dear, 2)) == [("dear", 1)]
    assert order([make_row("dear", version=2)], make_line(dear, 0)) == [("dear", 0), ("dear", 1), ("dear", 2)]


def test_of_a_comparison_only_the_variants_run_that_are_missing():
    pair = ROWS[2]
    lines = [make_line(pair, 0, place=place) for place in (0, 1, 3)]
    (turn, *_) = turns([standings(pair, lines)], asked=(), seeds=None)
    assert [cell.labels for cell in turn.cells] == [{"row": "pair", "entry": "copy / a", "seed": 0}]


def test_what_is_asked_for_runs_whatever_results_there_are_and_with_the_seeds_that_are_given():
    cheap = ROWS[1]
    lines = [make_line(cheap, seed) for seed in (5, 6, 7)]
    assert order([cheap], *lines) == []
    assert order([cheap], *lines, asked={"cheap"}) == [("cheap", 5), ("cheap", 6)]
    assert order([cheap], *lines, seeds=[7, 8]) == [("cheap", 8)]
    assert order([cheap], *lines, seeds=[7, 8], asked={"cheap"}) == [("cheap", 7), ("cheap", 8)]


@pytest.fixture
def sweep(tmp_path):
    written(tmp_path / "search.py", SWEEP)
    return find_rows(tmp_path)[0]


def test_a_sweep_has_its_turn_among_the_first_seeds_and_runs_alone(sweep):
    rows = [*ROWS[:2], sweep]
    assert sweep.declared.core_minutes == 1
    assert order(rows) == [("cheap", 5), ("search", None), ("dear", 0), ("cheap", 6), ("dear", 1), ("dear", 2)]
    ordered = turns([standings(row, ()) for row in rows], asked=(), seeds=None)
    assert [[turn.row.name for turn in stretch] for stretch in stretches(ordered)] == [
        ["cheap"],
        ["search"],
        ["dear", "cheap", "dear", "dear"],
    ]
    assert order([sweep], *(make_line(sweep, seed) for seed in sweep.seeds)) == []
    assert order([sweep], make_line(sweep, 1)) == [("search", None)]
