"""A study whose workers train several cells of a program as one."""

from pathlib import Path
from typing import Any

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.engine.cells import Cell, ListSource, Result
from attention_jax.study.engine.run import run_cells
from tests.study.engine.test_session import config
from tests.study.engine.test_supervisor import lines, run, steps, trivial  # noqa: F401
from tests.training import tiny

SEEDS = (0, 1)


def cells(rates: tuple[float, ...]) -> list[Cell]:
    """Returns cells of one program."""
    return [
        Cell(f"{rate}/{seed}", {**config(learning_rate=rate, log={"every": 2}), "seed": seed})
        for rate in rates
        for seed in SEEDS
    ]


def test_members_are_rows_and_folders_as_those_that_train_alone(tmp_path):
    # The last one fails at its first step, and the one before it cannot be.
    mine = [*cells((0.03, 0.003)), cells((-1.0,))[0], cells((1e30,))[0]]
    results: dict[str, dict[str, Result]] = {}
    for members in (1, len(mine)):
        said: list[str] = []
        where: Any = {"workers": 0, "members": members, "announce": said.append, "tries": False}
        results[str(members)] = run_cells(ListSource(mine), tmp_path / str(members), **where)
    alone, together = results.values()
    assert "[1/6] 0.03 / 0: training, one of 6 members" in said
    assert any("on a CPU a step of members takes at least as long as theirs one by one" in line for line in said)
    for cell in mine:
        here, there = together[cell.name], alone[cell.name]
        assert (here.status, here.reason) == (there.status, there.reason)
        assert (here.facts["members"], there.facts["members"]) == (6, 1)
        if here.status == "done":
            assert here.score == pytest.approx(there.score, rel=1e-4)
            assert here.outcome["ms_per_step"] > 0
        one, other = (cell.folder(tmp_path / members) for members in results)
        if here.status != "refused":
            assert [line["step"] for line in tiny.lines(one)] == [line["step"] for line in tiny.lines(other)]
            assert (one / "config.json").read_bytes() == (other / "config.json").read_bytes()
    assert [together[cell.name].status for cell in mine] == ["done"] * 4 + ["refused", "failed"]
    assert sum(result.facts["compilations"] > 0 for result in together.values()) <= 1


def test_a_worker_that_dies_hands_its_members_on(run, tmp_path, lines):  # noqa: F811
    mine = [trivial(number, fault="die once", at=25, steps=40) for number in range(3)]
    results = run(mine, workers=1, members=2)
    assert [results[cell.name].status for cell in mine] == ["done"] * 3
    assert {number: results[f"trivial/{number}"].facts["members"] for number in range(3)} == {0: 2, 1: 2, 2: 1}
    assert all(steps(cell, tmp_path)[-1] == 40 for cell in mine)
    assert sum("going on from its checkpoint" in line for line in lines) >= 3


def test_cells_of_several_programs_are_members_of_their_own_alone(run):  # noqa: F811
    mine = [
        Cell(f"{steps}/{seed}", {**trivial(seed).config, "steps": steps}) for seed in range(4) for steps in (20, 40)
    ]
    results = run(mine, workers=2, members=3)
    assert all(result.status == "done" for result in results.values())
    assert sorted(result.facts["members"] for result in results.values()) == [1, 1, 3, 3, 3, 3, 3, 3]


class Pruning(ListSource):
    """Cells of which some may be ended early."""

    prunes = True


@pytest.mark.parametrize(
    ("members", "source", "words"),
    [
        (0, ListSource, r"^--members=0: give 1 \(each run alone\) or more\.$"),
        (
            2,
            Pruning,
            r"^--members=2: members take each step together, and a pruner ends each at a step of its own: give",
        ),
    ],
)
def test_members_that_cannot_be_are_refused(tmp_path: Path, members, source, words):
    with pytest.raises(Refused, match=words):
        run_cells(source([trivial(0)]), tmp_path / "study", members=members)
    assert not (tmp_path / "study").exists()


def test_what_members_cannot_do_is_the_reason_of_each_row(tmp_path):
    patient = [
        Cell(cell.name, {**cell.config, "evaluation": {"every": 8, "patience": 2}, "steps": 8})
        for cell in cells((0.03,))
    ]
    results = run_cells(ListSource(patient), tmp_path, workers=0, members=2, tries=False, announce=lambda line: None)
    for result in results.values():
        assert result.status == "refused"
        assert result.reason == (
            "members take each step together, and evaluation.patience ends each run at a step of its own: use "
            "--members=1."
        )
