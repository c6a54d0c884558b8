"""`launch.py reproduce` from the command to the table, with trainings of seconds."""

from pathlib import Path
from typing import Any

import pytest

from attention_jax.study.reproduction.run import alone
from tests.launch.command_line import RECALL, Answer, contents, launch, read_jsonl
from tests.launch.test_refusals import answers, assert_refused

BRIEF: dict[str, Any] = {**RECALL, "steps": 12, "log": {"every": 6}}
# One program, but for the control's: compiling takes most of the time.
SWEEP = {**BRIEF, "space": "model.width=[16]", "sweep": {"sampler": "grid", "best": 1, "fresh_seeds": 1}}
COMPARISON = {"benchmarks": {"recall": BRIEF}, "variants": ("scaled_dot", "uniform"), "seeds": (0,)}
MISSING = {**BRIEF, "data": {"name": "tfds_characters", "dataset": "tiny_shakespeare", "context": 8}}
ANY = "expected=Expected(2.0, tolerance=2.0)"


def declare(path: Path, sections: dict[str, Any], core_minutes: float, declared: str) -> None:
    """Writes a config file that declares a result."""
    lines = (
        "from ml_collections import ConfigDict",
        "from attention_jax.study.reproduction.declaration import Expected, Reproduction",
        f"RESULTS = (Reproduction(system='{path.stem}', data='MQAR', core_minutes={core_minutes}, {declared}),)",
        f"def get_config():\n    return ConfigDict({sections!r})",
    )
    path.write_text("\n".join(lines) + "\n")


class House:
    """A folder with experiments, results and runs."""

    def __init__(self, folder: Path):
        self.folder, self.experiments = folder, folder / "experiments"
        self.experiments.mkdir()
        self.words = (f"--experiments={self.experiments}", f"--results={folder / 'results'}")
        self.environment = {
            "ATTENTION_JAX_RUNS": str(folder / "runs"),
            "TFDS_DATA_DIR": str(folder),
        }

    def reproduce(self, *words: str) -> Answer:
        """Runs the command."""
        return launch("reproduce", *words, *self.words, environment=self.environment)

    def lines(self, row: str) -> list[dict[str, Any]]:
        """Returns the raw lines of a row."""
        return read_jsonl(self.folder / "results" / "reproduce" / f"{row}.jsonl")


@pytest.fixture
def house(tmp_path: Path) -> House:
    """With an experiment, a comparison, a sweep, and one that lacks its data."""
    house = House(tmp_path)
    declare(house.experiments / "recall.py", BRIEF, 2, f"metric='validation_loss', seeds=(0, 1), {ANY}")
    declare(house.experiments / "pair.py", COMPARISON, 1, "control='uniform', seeds=(0,)")
    declare(house.experiments / "search.py", SWEEP, 3, f"metric='validation_loss', {ANY}")
    declare(house.experiments / "text.py", MISSING, 4, "")
    return house


def test_a_stranger_s_rows_run_to_their_table_and_he_is_told(house: House) -> None:
    answer = house.reproduce("--workers=1")
    assert answer.code == 0, answer.err
    assert "Traceback" not in answer.err
    assert "left out: text: TFDS data set 'tiny_shakespeare' is not prepared" in answer.err
    said = {line.partition(": ")[0]: line for line in answer.out.splitlines()}
    assert said["recall"].startswith("recall: reproduced: validation_loss")
    assert "(2 seeds), expected 2.0000 within 2.0000" in said["recall"]
    assert said["search"].startswith("search: reproduced: validation_loss")
    assert "measured: test_loss" in said["pair / recall / scaled_dot"]
    first, second = house.lines("recall")
    assert {"validation_loss", "test_loss"} <= first["scores"].keys()
    assert (first["seed"], second["seed"], first["config"]["steps"]) == (0, 1, 12)
    assert first["machine"]["device"] == "cpu"
    assert first["versions"]["jax"]
    (best,) = house.lines("search")
    assert best["found"] == {"model.width": 16}
    table = (house.folder / "results.md").read_text()
    assert "| text | MQAR | `python launch.py reproduce text` |" in table
    assert "not run yet: costs 12m00s" in table
    # A file of his own, of which he expects too much, beside rows that are there and stay byte for byte.
    mine, before = house.folder / "mine.py", contents(house.folder / "results")
    declare(mine, BRIEF, 1, "expected=Expected(9.0, tolerance=0.5), seeds=(3,)")
    again = house.reproduce("--workers=0", str(mine), "search", "recall")
    assert again.code == 1, again.err
    assert "mine: NOT reproduced: test_loss" in again.out
    assert "expected 9.0000 within 0.5000" in again.out
    after = contents(house.folder / "results")
    assert len(house.lines("mine")) == 1
    assert {name: after[name] for name in before} == before
    assert again.err.count(": training") == 1
    assert "| mine | MQAR |" in (house.folder / "results.md").read_text()


def test_what_cannot_be_is_one_line_and_writes_nothing(house: House, tmp_path: Path) -> None:
    plain, occupied = tmp_path / "plain.py", tmp_path / "occupied"
    plain.write_text("def get_config():\n    return None\n")
    occupied.write_text("")
    bad = [
        (["recal"], "there is no row 'recal' to reproduce. Did you mean 'recall'?"),
        (["no/such.py"], "there is no config file 'no/such.py'"),
        ([str(plain)], "plain.py declares no RESULTS"),
        (["text"], "text: TFDS data set 'tiny_shakespeare' is not prepared"),
        (["text"], "python launch.py prepare tiny_shakespeare"),
        (["recall", "--seeds=0,x"], "seeds=0,x: give whole numbers"),
        (["recall", "--seeds=1,1"], "seeds=1,1: give each once"),
        (["search", "--seeds=0"], "search: a sweep runs the fresh seeds of its config"),
        (["--workers=-1"], "--workers=-1"),
        (["--retry=al"], "--retry=al"),
        (["--experiments=no/such"], "there is no folder 'no/such' of experiments"),
        (["--results=" + str(occupied)], "occupied"),
    ]
    before = contents(tmp_path)
    commands = [["reproduce", *self_words(house, words)] for words, _ in bad]
    for (words, said), answer in zip(bad, answers(commands, environment=house.environment), strict=True):
        assert_refused(answer, (said,), words)
    assert {name for name in contents(tmp_path) if name not in before} <= {"runs/.study.lock"}


def self_words(house: House, words: list[str]) -> list[str]:
    """Returns a command's words with those of the folders that it does not name itself."""
    own = {word.partition("=")[0] for word in words}
    return [*(word for word in house.words if word.partition("=")[0] not in own), *words]


def test_beside_a_live_one_it_is_refused(house: House) -> None:
    with alone(house.folder / "runs"):
        answer = house.reproduce()
    assert_refused(answer, ("error: ATTENTION_JAX_RUNS=", "is held by a `reproduce` that runs"), "held")
    assert not (house.folder / "results").exists()
