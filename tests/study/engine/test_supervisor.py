"""The supervisor: each cell once, whatever ends; what fails is a row; what was asked for again runs again."""

from pathlib import Path

import pytest

from attention_jax.base.errors import Refused
from attention_jax.study.engine.cells import Cell, ListSource, Result
from attention_jax.study.engine.run import held, run_cells
from attention_jax.study.engine.store import read_rows, storage_url


def trivial(number: int, **changed: object) -> Cell:
    """Returns a cell of the stand-in trainer."""
    config = {"trainer": "tests.study.trivial:train", "seed": number, "steps": 20, **changed}
    return Cell(name=f"trivial/{number}", config=config)


def steps(cell: Cell, workdir: Path) -> list[int]:
    """Returns every step that was taken of a cell, also again."""
    return [int(line) for line in (cell.folder(workdir) / "steps.txt").read_text().splitlines()]


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def run(tmp_path, lines):
    def _run(cells: list[Cell], **options: object) -> dict[str, Result]:
        return run_cells(ListSource(cells), tmp_path, **{"workers": 2, "announce": lines.append, **options})

    return _run


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_cell_is_trained_once(run, tmp_path, workers):
    cells = [trivial(number) for number in range(5)]
    results = run(cells, workers=workers)
    assert {name: result.score for name, result in results.items()} == {
        f"trivial/{number}": number / 4 for number in range(5)
    }
    assert all(steps(cell, tmp_path) == list(range(1, 21)) for cell in cells)
    assert [row.status for row in read_rows(storage_url(tmp_path, None))] == ["done"] * 5
    assert results["trivial/3"].facts["log"] == "runs/trivial/3/log.txt"
    assert "jax" in results["trivial/3"].facts["versions"]


def test_a_second_start_trains_nothing_and_more_cells_only_those(run, tmp_path, lines):
    first = run([trivial(0), trivial(1)])
    again = run([trivial(2), trivial(0), trivial(1)])
    assert {name: again[name] for name in first} == first
    assert all(steps(trivial(number), tmp_path) == list(range(1, 21)) for number in range(3))
    assert "keeping the results of 2 of 3 runs" in lines


@pytest.mark.parametrize("workers", [0, 2])
def test_what_fails_is_a_row_with_its_log_and_is_said_and_the_others_go_on(run, tmp_path, lines, workers):
    cells = [trivial(0, fault="raise", at=7), trivial(1, fault="refuse", at=3), trivial(2)]
    results = run(cells, workers=workers)
    assert [results[cell.name].status for cell in cells] == ["failed", "refused", "done"]
    assert results["trivial/0"].reason == "ValueError: a bug of the variant's"
    assert results["trivial/1"].reason == "the variant cannot: use another."
    log = tmp_path / results["trivial/0"].facts["log"]
    assert "Traceback" in log.read_text()
    assert any(f"failed: ValueError: a bug of the variant's (log: {log})" in line for line in lines)


def test_failed_cells_stay_until_they_are_asked_for_again(run, tmp_path):
    cell = trivial(0, fault="raise", at=7)
    assert run([cell])["trivial/0"].status == "failed"
    assert run([cell])["trivial/0"].status == "failed"
    assert len(steps(cell, tmp_path)) == 7
    assert run([cell], retry="failed")["trivial/0"].status == "failed"
    assert len(steps(cell, tmp_path)) == 14


def test_a_worker_that_dies_hands_its_cell_on_from_its_checkpoint(run, tmp_path, lines):
    cell = trivial(0, fault="die once", at=30, steps=60)
    assert run([cell, trivial(1)])["trivial/0"].status == "done"
    assert steps(cell, tmp_path) == [*range(1, 31), *range(21, 61)]
    assert any("its worker ended by signal SIGKILL" in line for line in lines)


def test_a_cell_that_always_kills_its_worker_fails(run):
    result = run([trivial(0, fault="die", at=0), trivial(1)])
    assert result["trivial/1"].status == "done"
    assert result["trivial/0"].status == "failed"
    assert "its worker ended by signal SIGKILL at step 0, 5 times" in str(result["trivial/0"].reason)


def test_a_cell_that_hangs_goes_on_and_fails_when_it_hangs_there_again(run, tmp_path, lines):
    cells = [trivial(0, fault="hang once", at=30, steps=60), trivial(1, fault="hang", at=30, steps=60)]
    results = run(cells, stuck_seconds=3.0)
    assert results["trivial/0"].status == "done"
    assert steps(cells[0], tmp_path) == [*range(1, 31), *range(21, 61)]
    assert results["trivial/1"].status == "failed"
    assert "no progress at step 30 for" in str(results["trivial/1"].reason)


class Halving:
    """A source that learns: three rounds of two cells, the next made of the better; the worse is pruned."""

    eager, prunes = False, True

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.asked_at: list[tuple[str, int, float]] = []
        self._open, self._next = 0, 0

    def ask(self) -> Cell | None:
        if self._open or self._next >= 6:
            return None
        self._open += 1
        self._next += 1
        return trivial(self._next - 1, steps=60)

    def tell(self, cell: Cell, result: Result) -> None:
        self._open -= 1
        self.told.append((cell.name, result.status))

    def wants(self, cell: Cell, step: int, value: float) -> bool:
        self.asked_at.append((cell.name, step, value))
        return cell.config["seed"] % 2 == 0 or step < 40

    @property
    def exhausted(self) -> bool:
        return self._next >= 6


@pytest.mark.parametrize("workers", [0, 2])
def test_a_source_that_learns_is_asked_again_and_prunes(tmp_path, workers):
    source = Halving()
    results = run_cells(source, tmp_path, workers=workers, announce=lambda line: None)
    assert source.told == [(f"trivial/{number}", "pruned" if number % 2 else "done") for number in range(6)]
    assert results["trivial/1"].outcome == {"metric": "validation_loss", "score": 1 + 1 / 40, "steps": 40}
    assert max(steps(trivial(1, steps=60), tmp_path)) == 40
    again = Halving()
    assert run_cells(again, tmp_path, workers=workers, announce=lambda line: None) == results
    assert again.told == source.told
    assert again.asked_at == []


def test_a_source_that_waits_for_nothing_is_a_bug_and_not_a_study_that_never_ends(tmp_path):
    source = Halving()
    source._open = 1
    with pytest.raises(RuntimeError, match="is not exhausted"):
        run_cells(source, tmp_path, workers=1, announce=lambda line: None)


def test_what_cannot_run_is_known_before_the_first_cell_for_every_seed(tmp_path, lines):
    recall = {"data": {"name": "digits"}, "task": {"name": "classification"}, "batch_size": 10}
    broken = [Cell(name=f"broken/{seed}", config={**recall, "seed": seed}) for seed in (0, 1)]
    cells = [trivial(0), *broken]
    results = run_cells(ListSource(cells), tmp_path, workers=1, announce=lines.append)
    assert [results[cell.name].status for cell in broken] == ["failed"] * 2
    assert "missing" in str(results["broken/1"].reason)
    assert lines.index("[1/3] trivial / 0: training") > lines.index(
        next(line for line in lines if "every configuration was tried for a step, 1 can run" in line)
    )


def test_a_source_that_learns_has_a_sample_tried_and_says_what_cannot_run(tmp_path, lines):
    recall = {"data": {"name": "digits"}, "task": {"name": "classification"}, "batch_size": 10}
    broken = Cell("preflight/1", {**recall, "seed": 0})
    sample = [trivial(7), broken]
    run_cells(Halving(), tmp_path, workers=1, preflight=sample, planned=6, announce=lines.append)
    tried = lines.index("a sample of the configurations was tried for a step, 1 can run")
    assert lines[0].startswith("preflight / 1: failed: TypeError: ")
    assert (tried, "[1] trivial / 0: training" in lines[2:]) == (1, True)


def test_a_folder_that_a_live_study_holds_is_refused(run, tmp_path):
    with held(tmp_path), pytest.raises(Refused, match="is held by a study that runs"):
        run([trivial(0)])


def test_two_cells_of_one_name_or_config_are_refused():
    with pytest.raises(Refused, match="name one"):
        ListSource([trivial(0), trivial(0, steps=21)])
    with pytest.raises(Refused, match="name one"):
        ListSource([trivial(0), Cell(name="other", config=trivial(0).config)])


@pytest.mark.parametrize(
    ("options", "words"), [({"workers": -1}, "--workers=-1: give 0"), ({"retry": "faild"}, "Did you mean 'failed'")]
)
def test_options_that_cannot_be_are_refused(run, options, words):
    with pytest.raises(Refused, match=words):
        run([trivial(0)], **options)
