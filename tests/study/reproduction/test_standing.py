"""Where a row stands: what makes a line stale, and whether a score is as expected."""

import dataclasses

import pytest

from attention_jax.study.engine.cells import Result
from attention_jax.study.reproduction.declaration import Expected
from attention_jax.study.reproduction.lines import line_of
from attention_jax.study.reproduction.standing import standings
from tests.study.reproduce_cases import make_line, make_row


def stand(row, *lines):
    """Returns where the only entry of a row stands."""
    (standing,) = standings(row, lines)
    return standing


@pytest.mark.parametrize(
    ("scores", "state"),
    [
        ([], "not run yet"),
        ([0.25], "reproduced"),
        ([0.1, 0.4], "reproduced"),
        ([0.36], "not reproduced"),
        ([0.14], "not reproduced"),
    ],
)
def test_a_score_within_the_tolerance_is_reproduced(scores, state):
    row = make_row()
    standing = stand(row, *(make_line(row, seed, score) for seed, score in enumerate(scores)))
    assert standing.state == state
    assert standing.left == tuple(range(len(scores), 3))


def test_the_verdict_says_the_score_the_seeds_and_what_was_expected():
    row = make_row(bar=0.3)
    said = stand(row, make_line(row, 0, 0.2), make_line(row, 1, 0.3)).verdict()
    assert said == (
        "one: reproduced: test_loss 0.2500 [0.000, 0.885] (2 seeds of 3), expected 0.2500 within 0.1000, "
        "bar 0.3000: reached"
    )
    assert stand(row, make_line(row, 0, 0.4)).verdict().startswith("one: NOT reproduced: test_loss 0.4000")
    assert "bar 0.3000: missed" in stand(row, make_line(row, 0, 0.4)).verdict()


def test_without_an_expectation_it_is_measured():
    row = make_row(expected=None)
    assert stand(row, make_line(row)).state == "measured"
    assert "no score is declared" in stand(row, make_line(row)).verdict()


@pytest.mark.parametrize(
    "now",
    [make_row(version=2), make_row(written="other"), make_row(sections={"steps": 21})],
    ids=["version", "file", "default"],
)
def test_a_raised_version_another_file_or_another_default_makes_a_line_stale(now):
    before = make_row()
    standing = stand(now, make_line(before))
    assert standing.state == "stale"
    assert standing.left == (0, 1, 2)
    assert stand(now, make_line(before), make_line(now)).state == "reproduced"


def test_a_commit_a_machine_and_a_key_that_the_code_has_gained_make_none_stale():
    row = make_row()
    line = make_line(row)
    grown = make_row(sections={"new_option": False})
    assert stand(grown, line).state == "reproduced"
    elsewhere = dataclasses.replace(line, commit="def", versions={}, machine={"cpu": "another"})
    assert stand(row, elsewhere).state == "reproduced"
    assert stand(make_row(sections={"mesh": {"data": 1}}), make_line(make_row(sections={"mesh": None}))).runs


def test_of_two_lines_of_a_seed_the_later_counts():
    row = make_row()
    assert stand(row, make_line(row, 0, 0.9), make_line(row, 0, 0.25)).scores == {0: 0.25}


def test_a_failed_run_is_no_score_and_says_why():
    row = make_row()
    what = {"row": "one", "entry": "", "seed": 1, "version": 1, "written": "w", "config": row.entries[0].config_of(1)}
    failed = line_of(Result("failed", "the loss is nan"), None, seconds=1.0, **what)
    assert stand(row, failed).state == "failed"
    assert stand(row, failed).verdict() == "one: failed; seed 1 failed: the loss is nan"
    assert stand(row, make_line(row), failed).state == "reproduced"
    assert stand(row, make_line(row), failed).left == (1, 2)
    assert stand(row, failed, make_line(row, 1)).failed == {}


def test_the_metric_that_is_declared_is_the_score():
    row = make_row(metric="validation_loss", expected=Expected(2.0, 0.1))
    line = dataclasses.replace(make_line(row), metric="test_loss", scores={"test_loss": 9.0, "validation_loss": 2.0})
    assert stand(row, line).scores == {0: 2.0}
    mistyped = stand(make_row(metric="validation_los"), line)
    assert mistyped.state == "failed"
    assert "has no measure 'validation_los', but test_loss, validation_loss" in mistyped.verdict()
