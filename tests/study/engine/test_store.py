"""Leases and results: taken once, finished once, given back; and what a storage that cannot be used says."""

import threading
from pathlib import Path

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.engine import store as store_module
from attention_jax.study.engine.cells import Cell, Result
from attention_jax.study.engine.store import Store, read_rows, storage_url

DONE = Result("done", outcome={"metric": "test_loss", "score": 0.25, "steps": 3}, facts={"log": "runs/0/log.txt"})


@pytest.fixture
def url(tmp_path: Path) -> str:
    return storage_url(tmp_path, None)


def cell(number: int) -> Cell:
    return Cell(name=str(number), config={"seed": number}, labels={"number": number})


def test_of_two_supervisors_one_gets_a_cell_and_alone_can_finish_it(url):
    first, second = Store(url), Store(url)
    first.register([cell(0)])
    assert first.take(cell(0))
    assert first.take(cell(0))
    assert not second.take(cell(0))
    assert not second.finish(cell(0), DONE)
    assert first.finish(cell(0), DONE)
    assert not first.finish(cell(0), DONE)
    assert not first.take(cell(0))
    row = second.row(cell(0))
    assert (row.status, row.owner, row.result, row.labels) == ("done", None, DONE, {"number": 0})


def test_a_cell_that_was_given_back_is_another_s_to_take(url):
    first, second = Store(url), Store(url)
    first.register([cell(0)])
    assert first.take(cell(0))
    first.release([cell(0)])
    assert second.take(cell(0))
    assert not first.finish(cell(0), DONE)


def test_a_lease_that_ran_out_is_another_s_to_take_and_the_first_hears_of_it(url, monkeypatch):
    first, second = Store(url), Store(url)
    first.register([cell(0), cell(1)])
    monkeypatch.setattr(store_module, "LEASE_SECONDS", -1.0)
    assert first.take(cell(0))
    assert first.take(cell(1))
    monkeypatch.setattr(store_module, "LEASE_SECONDS", 60.0)
    assert second.take(cell(0))
    assert first.renew() == {cell(1).identity}
    assert not second.take(cell(1))


def test_cells_are_added_once_and_those_that_are_new_come_last(url):
    store = Store(url)
    store.register([cell(3), cell(1)])
    store.register([cell(0), cell(1), cell(3)])
    assert [row.name for row in store.rows()] == ["3", "1", "0"]
    store.register([])


def test_failed_cells_wait_again_when_they_are_reopened(url):
    store = Store(url)
    store.register([cell(0), cell(1)])
    for number, result in enumerate([Result("failed", "nan"), DONE]):
        store.take(cell(number))
        store.finish(cell(number), result)
    assert store.reopen("failed") == 1
    assert [row.status for row in store.rows()] == ["waiting", "done"]
    assert store.row(cell(0)).result is None


def test_studies_in_one_storage_do_not_see_each_other(url):
    one, other = Store(url, study="one"), Store(url, study="other")
    one.register([cell(0)])
    assert other.rows() == []
    assert other.row(cell(0)) is None
    other.drop_leases()
    assert one.take(cell(0))


def test_of_many_threads_each_cell_goes_to_one(url):
    Store(url).register([cell(number) for number in range(12)])
    got: list[int] = []

    def take_all() -> None:
        mine = Store(url)
        got.extend(number for number in range(12) if mine.take(cell(number)))

    threads = [threading.Thread(target=take_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(12))


def test_reading_writes_nothing_and_works_beside_a_writer(url, tmp_path):
    store = Store(url)
    store.register([cell(0)])
    before = (tmp_path / "study.db").read_bytes()
    assert [row.status for row in read_rows(url)] == ["waiting"]
    assert (tmp_path / "study.db").read_bytes() == before
    assert store.take(cell(0))
    assert [row.status for row in read_rows(url)] == ["running"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "is no URL of a database"),
        ("mysql://host/there", "it takes sqlite:///FILE or postgresql"),
        ("nosuch+driver://host/there", "it takes sqlite:///FILE or postgresql"),
        ("sqlite:////no/such/folder/study.db", "cannot be used: unable to open database file"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/none", "cannot be used: connection"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_line(url, words):
    if "psycopg" in url:
        pytest.importorskip("psycopg")
    with pytest.raises(Refused, match=words) as refusal:
        Store(url)
    assert "\n" not in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_a_missing_driver_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(Refused, match=r"needs the package psycopg, which is not here: pip install 'psycopg"):
        Store("postgresql+psycopg://me@127.0.0.1/none")


def test_a_storage_that_holds_no_study_is_refused_when_read(tmp_path):
    with pytest.raises(Refused, match="cannot be used"):
        read_rows(storage_url(tmp_path, None))
