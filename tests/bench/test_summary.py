"""From samples to cells: ratios pair the samples of a round, and say whose they are."""

import math

import pytest

from attention_jax.bench.cases import Case
from attention_jax.bench.measures import Bound, Comparison
from attention_jax.bench.summary import (
    Spread,
    difference,
    fastest,
    markdown,
    relative,
    rows,
    spread,
    times,
    together,
    tokens_apart,
)

OURS = Case(who="attention_jax", process="one_device", batch=1, tokens=16, heads=2, width=4)


def test_a_spread_is_the_median_and_the_ends():
    assert spread([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0)
    assert spread([7.0]) == Spread(7.0, 7.0, 7.0)
    with pytest.raises(ValueError):
        spread([])


def test_the_speed_is_theirs_over_ours_and_time_and_bytes_are_ours_over_theirs():
    ours, theirs = [1.0, 2.0, 4.0], [3.0, 8.0, 4.0]
    assert relative(ours, theirs, "speed") == (3.0, 4.0, 1.0)
    assert relative(ours, theirs, "time") == (1 / 3, 0.25, 1.0)
    assert relative(ours, theirs, "bytes") == relative(ours, theirs, "time")


def test_a_ratio_is_of_the_samples_of_one_round():
    slow_round = relative([1.0, 100.0], [2.0, 200.0], "speed")
    assert slow_round == (2.0, 2.0)
    with pytest.raises(ValueError):
        relative([1.0, 2.0], [1.0], "speed")


def test_a_row_says_what_was_measured_and_how_much_it_varied():
    comparison = Comparison(what="forward", ratio="speed", ours=OURS, peers={"jax.nn": OURS, "torch": OURS})
    samples = {"attention_jax": [10.0, 12.0, 11.0], "jax.nn": [50.0, 60.0, 66.0]}
    (row,) = rows(comparison, samples, {"jax.nn": 3.21e-7})
    assert row.cells() == (
        "forward", "11.00 ms (10.00 to 12.00)", "jax.nn", "60.00 ms (50.00 to 66.00)", "5x the speed (5x to 6x)",
        "3e-07",
    )  # fmt: skip


def test_ratios_together_are_their_geometric_mean_and_the_lowest_of_the_upper_ends():
    def row(what, theirs):
        comparison = Comparison(what=what, ratio="speed", ours=OURS, peers={"jax.nn": OURS})
        return rows(comparison, {"attention_jax": [1.0] * len(theirs), "jax.nn": theirs}, {})[0]

    fast, slow = row("fast", [2.0] * 9), row("slow", [0.4, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.9])
    assert together([fast, slow]) == [
        "- jax.nn: 1x the speed in the geometric mean of 2 medians; the lowest upper end of their 95% intervals is "
        "0.5x (slow)"
    ]


def test_a_bound_is_compared_like_a_peer_and_before_them():
    comparison = Comparison("memory", "bytes", OURS, {"jax.nn": OURS}, bound=Bound("arrays", 2**20))
    beside_bound, beside_peer = rows(comparison, {"attention_jax": [2**18], "jax.nn": [2**21]}, {})
    assert beside_bound.cells() == ("memory", "256 KiB", "arrays", "1.0 MiB", "0.25x the bytes", "-")
    assert beside_peer.cells()[2:5] == ("jax.nn", "2.0 MiB", "0.125x the bytes")


def test_the_table_is_markdown_with_a_cell_under_each_column():
    comparison = Comparison(what="forward", ratio="speed", ours=OURS, peers={"jax.nn": OURS})
    text = markdown(rows(comparison, {"attention_jax": [1.0], "jax.nn": [2.0]}, {}))
    lines = text.splitlines()
    assert lines[0] == "| measure | attention_jax | against | its figure | ratio | difference |"
    assert lines[2] == "| forward | 1.00 ms | jax.nn | 2.00 ms | 2x the speed | - |"
    assert {line.count("|") for line in lines} == {7}


def test_a_difference_is_the_largest_over_the_spread_of_its_array():
    reference = [[0.0, 2.0], [0.0, 200.0]]
    assert difference([[0.0, 2.0], [0.0, 200.0]], reference) == 0
    assert difference([[0.0, 2.1], [0.0, 200.0]], reference) == pytest.approx(0.1)
    assert difference([[0.0, 2.0], [0.0, 150.0]], reference) == pytest.approx(0.5)
    assert difference([[0.0, math.nan], [0.0, 200.0]], reference) == math.inf
    with pytest.raises(ValueError):
        difference([[0.0, 2.0]], reference)


@pytest.mark.parametrize(
    ("value", "written"), [(0.123456, "0.123x"), (5.071, "5.07x"), (12.0, "12x"), (1234.5, "1234x")]
)
def test_a_ratio_is_written_in_three_figures(value, written):
    assert times(value) == written


def test_of_peers_that_compute_the_same_the_fastest_is_told():
    comparison = Comparison("a step", "speed", OURS, {"slow": OURS, "quick": OURS, "reading": OURS})
    samples = {"attention_jax": [1.0] * 9, "slow": [6.0] * 9, "quick": [3.0] * 8 + [9.0], "reading": [0.5] * 9}
    told = fastest(rows(comparison, samples, {"slow": 0.0, "quick": 0.0}))
    assert told == ["- a step: 3x the speed of the fastest, quick, 95% interval 3x to 3x"]
    assert fastest(rows(comparison, samples, {})) == []


def test_tokens_are_the_same_or_their_first_step_apart_is_told():
    ours = [[1, 2, 3], [4, 5, 6]]
    assert tokens_apart(ours, ours) == (0.0, "")
    share, where = tokens_apart([[1, 2, 9], [4, 9, 9]], ours)
    assert share == 0.5
    assert where == "the tokens differ first at new token 1 of row 1"
    with pytest.raises(ValueError, match="cannot be compared"):
        tokens_apart([[1, 2]], ours)
