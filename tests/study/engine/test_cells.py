"""Cells: what makes two of them one, what they share, where they train."""

from pathlib import Path

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.engine.backlog import Backlog
from attention_jax.study.engine.cells import Cell, ListSource, cell_name

CONFIG = {"model": {"name": "gpt", "width": 16}, "steps": 3, "seed": 1, "mesh": {"data": -1}}


def cell(**changed: object) -> Cell:
    return Cell("a/b", {**CONFIG, **changed})


def test_identity_is_of_what_is_computed_and_not_of_where_nor_of_the_order_of_keys():
    same = Cell("other", dict(reversed(CONFIG.items())), labels={"variant": "b"})
    assert cell().identity == same.identity
    for place in (
        {"mesh": {"data": 2}},
        {"attention_parallel": "all_gather"},
        {"parameter_rules": (("x", ("fsdp",)),)},
    ):
        assert cell(**place).identity == cell().identity
    for other in ({"steps": 4}, {"seed": 2}, {"model": {"name": "gpt", "width": 32}}):
        assert cell(**other).identity != cell().identity


def test_a_program_serves_every_seed_and_learning_rate_and_nothing_else():
    sgd = {"name": "sgd", "momentum": 0.9}
    mine = cell(optimizer={**sgd, "learning_rate": 0.1}).program
    assert mine == cell(seed=2, optimizer={"learning_rate": 0.2, **sgd}).program == cell(optimizer=sgd).program
    for other in (
        {"steps": 4},
        {"mesh": {"data": 1}},
        {"model": {"name": "gpt"}},
        {"optimizer": {**sgd, "momentum": 0.1}},
    ):
        assert cell(**{"optimizer": sgd, **other}).program != mine


def test_a_tuple_is_what_json_makes_of_it():
    assert cell(freeze=("a", "b")).identity == cell(freeze=["a", "b"]).identity


def test_a_name_is_a_folder_for_whatever_it_is_made_of():
    name = cell_name("mqar", "my/file.py:mine", "0")
    assert name == "mqar/my%2Ffile.py%3Amine/0"
    found = Cell(name, CONFIG)
    assert found.folder(Path("w")) == Path("w/runs/mqar/my%2Ffile.py%3Amine/0")
    assert found.title == "mqar / my/file.py:mine / 0"
    assert Cell(name, CONFIG, title="its own").title == "its own"


def test_a_cell_can_be_a_key():
    assert {cell(): 1}[cell()] == 1


def test_a_list_gives_each_once_in_its_order():
    cells = [Cell(str(seed), {"seed": seed}) for seed in range(3)]
    source = ListSource(cells)
    assert not source.exhausted
    assert [source.ask() for _ in range(4)] == [*cells, None]
    assert source.exhausted
    assert source.wants(cells[0], 3, 0.5)


@pytest.mark.parametrize(("name", "seed"), [("0", 1), ("1", 0)], ids=["name", "config"])
def test_a_list_that_has_a_name_or_a_config_twice_is_refused(name, seed):
    with pytest.raises(Refused, match="name one"):
        ListSource([Cell("0", {"seed": 0}), Cell(name, {"seed": seed})])


def test_a_worker_gets_a_cell_of_its_own_programs_then_of_nobody_s_then_of_any():
    backlog = Backlog()
    cells = [Cell(f"{width}/{seed}", {"width": width, "seed": seed}) for width in (1, 2, 3) for seed in (0, 1)]
    for each in cells:
        backlog.add(each)
    one, two, three = (cells[place].program for place in (0, 2, 4))
    assert backlog.take({two}, {one}) is cells[2]
    assert backlog.take(set(), {one, two}) is cells[4]
    assert backlog.take(set(), {one, two, three}) is cells[0]
    backlog.put_back(cells[4])
    assert backlog.take(set(), set()) is cells[4]
    assert backlog.take_program(one) == [cells[1]]
    assert backlog.take_of(one) is None
    assert backlog.take_of(three) is cells[5]
    assert len(backlog) == 1
