"""The simulations that a user can run, in short; the whole of them is `long`."""

import dataclasses
import io

import pytest
from rich.console import Console

from attention_jax.base.errors import Refused
from attention_jax.study.statistics.selftest import SHAPES, Row, print_rows, run

NORMAL, CEILING, SOLVED, SEEDS, UNEQUAL = SHAPES


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_short_form_keeps_to_the_bars(shape):
    for row in run(studies=1000, variants=(6, 15), seeds=(3, 10), shapes=(shape,), shuffles=199):
        # 1000 studies know 5% to 0.7 points: a rate of 6.5% would be two of them away.
        assert row.false <= (0.065 if shape.judged else 0.12), row
        assert row.beside <= (0.065 if shape.judged else 0.12), row
        assert row.covered >= 0.93, row
        assert row.width is None or row.width <= 1.15, row
        if shape is NORMAL:
            assert row.found >= 0.8, row


def test_small_studies_keep_to_the_bar_too():
    for row in run(studies=1000, variants=(2, 3, 4), seeds=(3, 6), shapes=(NORMAL, SOLVED), coverage=False):
        assert row.false <= 0.065, row


def test_the_same_options_give_the_same_rows():
    options = {"studies": 50, "variants": (6,), "seeds": (3,), "shapes": (CEILING,), "shuffles": 99}
    assert list(run(**options)) == list(run(**options))
    assert list(run(**options)) != list(run(**options, seed=1))


ROW = Row(
    shape="normal",
    judged=True,
    variants=15,
    seeds=3,
    studies=4000,
    false=0.04,
    false_upper=0.05,
    beside=0.04,
    effect=4.0,
    found=0.85,
    covered=0.95,
    shown=1.0,
    width=1.0,
)


@pytest.mark.parametrize(
    ("changed", "judgement"),
    [
        ({}, "pass"),
        ({"false": 0.051}, "fail"),
        ({"beside": 0.051}, "fail"),
        ({"false": 0.09, "false_upper": 0.1, "judged": False}, "pass"),
        ({"false_upper": 0.07}, "too few studies"),
        ({"found": 0.79}, "fail"),
        ({"found": 0.1, "effect": 1.0}, "pass"),
        ({"found": 0.1, "seeds": 5}, "pass"),
        ({"covered": 0.92}, "fail"),
        ({"covered": None, "width": None}, "pass"),
        ({"width": 1.2}, "fail"),
    ],
)
def test_the_bars(changed, judgement):
    row = dataclasses.replace(ROW, **changed)
    assert row.judgement == judgement
    stream = io.StringIO()
    assert print_rows([row], console=Console(file=stream, width=110)) == (judgement == "pass")
    assert judgement in stream.getvalue()
    assert max(map(len, stream.getvalue().splitlines())) <= 110


@pytest.mark.parametrize(
    "options", [{"studies": 0}, {"variants": (1,)}, {"seeds": (2,)}, {"effect": 0.0}, {"effect": float("nan")}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(Refused):
        run(**options)


@pytest.mark.long
def test_the_whole_keeps_to_the_bars():
    """4000 studies of every shape and size: about a minute."""
    rows = list(run(studies=4000))
    assert len(rows) == 30
    assert [row for row in rows if row.judgement != "pass"] == []
