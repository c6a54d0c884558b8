"""A stranger's data from the command to the report, in a folder that holds nothing else."""

import json
import random
import time
from pathlib import Path

import pytest

from tests.launch.command_line import Answer, contents, launch, read_jsonl
from tests.launch.test_refusals import answers, assert_refused

BRIEF = ("--config.steps=12", "--config.evaluation.every=6", "--config.optimizer.schedule.warmup_steps=2")
SMALL = ("--config.model.width=16", "--config.model.num_layers=1", "--config.model.num_heads=1", "--workers=1")


def write_table(path: Path, *, rows: int = 60) -> None:
    """Writes a table of texts, of which one word says the class."""
    draw = random.Random(0)
    words = ["the", "a", "film", "actor", "scene", "music", "plot", "was", "is", "and"]
    lines = ["review;sentiment"]
    for number in range(rows):
        text = " ".join([*draw.choices(words, k=draw.randint(2, 6)), "good" if number % 2 else "bad"])
        lines.append(f"{text} {number};{'pos' if number % 2 else 'neg'}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> tuple[Path, Answer]:
    """The folder of a comparison, and what it said."""
    folder = tmp_path_factory.mktemp("stranger")
    write_table(folder / "own.csv")
    words = ("compare", "--data=own.csv", "--variants=scaled_dot,linear", "--seeds=0", *BRIEF, *SMALL)
    return folder, launch(*words, folder=folder)


def test_compare_reads_a_table_in_an_empty_folder_and_says_what_it_guessed(compared):
    folder, answer = compared
    assert answer.code == 0, answer.err
    for words in (
        "own.csv: 60 labelled texts, semicolons, with a header",
        "text: column 'review'; label: column 'sentiment'",
        "2 classes: neg 30, pos 30",
        "train 36, validation 12, test 12; no text is there twice",
        "model encoder_classifier: num_layers 1, width 16, num_heads 1; 12 steps of 8 examples",
    ):
        assert words in answer.err
    assert "Baselines on own, test_accuracy: majority class 0.5000, logistic regression" in answer.out
    results = read_jsonl(folder / "runs/own/results.jsonl")
    assert [line["status"] for line in results] == ["done"] * 2
    config = json.loads((folder / "runs/own/config.json").read_text())
    assert len(config["benchmarks"]["own"]["data"]["digest"]) == 16


def test_a_changed_file_is_refused_in_the_same_folder_and_nothing_is_lost(compared):
    folder, _ = compared
    before, text = contents(folder / "runs"), (folder / "own.csv").read_text()
    try:
        (folder / "own.csv").write_text(text + "a fine film;pos\n")
        words = ("compare", "--data=own.csv", "--variants=scaled_dot,linear", "--seeds=0", *BRIEF, *SMALL)
        answer = launch(*words, folder=folder)
    finally:
        (folder / "own.csv").write_text(text)
    assert answer.code == 2
    assert "digest" in answer.err.splitlines()[-1]
    assert contents(folder / "runs") == before


def test_train_and_eval_take_the_same_words(tmp_path):
    write_table(tmp_path / "own.csv")
    run = "--workdir=W"
    small = ("--data=own.csv", run, *BRIEF, *SMALL[:-1], "--config.mesh.data=1")
    trained = launch("train", *small, folder=tmp_path)
    assert trained.code == 0, trained.err
    assert "eval --data=own.csv" in trained.out
    evaluated = launch("eval", *small, folder=tmp_path)
    assert evaluated.code == 0, evaluated.err
    score = next(line for line in trained.out.splitlines() if line.startswith("test_accuracy"))
    assert score in evaluated.out


def test_a_sweep_searches_over_the_data(tmp_path):
    (tmp_path / "own.txt").write_text("to be or not to be\n" * 100)
    words = ("sweep", "--data=own.txt", "--space=optimizer.learning_rate=[1e-3,1e-2]", "--sampler=grid", "--best=0")
    answer = launch(*words, *BRIEF, *SMALL, "--config.data.context=8", folder=tmp_path)
    assert answer.code == 0, answer.err
    assert "own.txt: a running text of 1900 characters" in answer.err
    assert "2 trials: 2 done" in answer.out
    assert "'digest'" in (tmp_path / "runs/own/best.py").read_text().replace('"', "'")


def test_what_cannot_be_used_is_one_line_and_code_2_and_writes_nothing(tmp_path):
    one, absent = tmp_path / "one.csv", tmp_path / "absent.csv"
    one.write_text("text,label\n" + "a film,pos\n" * 20)
    commands = {
        ("compare", f"--data={one}"): ("one class, 'pos'",),
        ("train", f"--data={absent}"): ("no file or folder", "Did you mean"),
        ("sweep", f"--data={one}", "--space=optimizer.learning_rate=[1]"): ("one class",),
        ("eval", "--data=tfds:mnist"): ("python launch.py prepare mnist",),
        ("train", "--config=experiments/demo.py", "--text=a"): ("--text=a names a column of --data",),
    }
    before = contents(tmp_path)
    given = [[*words, f"--workdir={tmp_path / 'W'}"] for words in commands]
    found = answers(given, environment={"TFDS_DATA_DIR": str(tmp_path)})
    for answer, (words, says) in zip(found, commands.items(), strict=True):
        assert_refused(answer, says, words)
    assert contents(tmp_path) == before


@pytest.mark.long
def test_two_thousand_texts_three_variants_and_three_seeds_take_three_minutes_cold(tmp_path):
    """On two quiet cores: on busy ones it fails, and means nothing."""
    draw = random.Random(0)
    common = [f"word{number}" for number in range(3000)]
    said = {"pos": [f"good{number}" for number in range(200)], "neg": [f"bad{number}" for number in range(200)]}
    lines = ["text,label"]
    for number in range(2000):
        label = ("pos", "neg")[number % 2]
        # Reviews of films have some 700 words.
        words = draw.choices(common, k=700)
        for place in draw.sample(range(700), 20):
            words[place] = draw.choice(said[label])
        lines.append(f"{' '.join(words)},{label}")
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n")
    start = time.monotonic()
    answer = launch("compare", "--data=own.csv", "--variants=scaled_dot,linear,additive", folder=tmp_path)
    seconds = time.monotonic() - start
    assert answer.code == 0, answer.err
    assert len(read_jsonl(tmp_path / "runs/own/results.jsonl")) == 9
    assert seconds < 180, seconds
