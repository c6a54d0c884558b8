"""Word vectors by the documented commands: learned, written, and started from by a model of another vocabulary."""

from pathlib import Path

import numpy as np
import pytest

from attention_jax.interop.word_vectors import read_word_vectors
from tests.launch.command_line import RECALL, launch, write_config

SKIP_GRAM = {
    "task": {"name": "skip_gram"},
    "model": {"name": "skip_gram", "width": 8},
    "optimizer": {"name": "adamw", "learning_rate": 1e-2, "weight_decay": 0.0},
    "batch_size": 8,
    "steps": 4,
    "evaluation": {"every": 4},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder of a run of skip-gram."""
    folder = tmp_path_factory.mktemp("word2vec")
    (folder / "text.txt").write_text("the cat sat on the mat\nthe dog sat on the cat\n" * 20)
    data = {"name": "skip_gram", "texts": (str(folder / "text.txt"),), "min_count": 1, "draws": 1}
    config = write_config(folder / "word2vec.py", {"data": data, **SKIP_GRAM})
    answer = launch("train", config, f"--workdir={folder / 'run'}")
    assert answer.code == 0, answer.err
    return folder / "run"


def test_vectors_are_written_and_another_model_starts_from_them(trained, tmp_path):
    output = tmp_path / "vectors.bin"
    answer = launch("vectors", f"--workdir={trained}", f"--output={output}")
    assert (answer.code, answer.out) == (0, f"6 vectors in {output}\n"), answer.err
    words, vectors = read_word_vectors(output)
    assert words[0] == "the"
    assert vectors.shape == (6, 8)
    assert np.abs(vectors).max() > 0.02

    lines = [f"a {animal} sat,{animal}" for animal in ("cat", "dog")] * 20
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *lines]))
    data = {"name": "text_classification", "path": str(tmp_path / "texts.csv"), "context": 4, "tokens": "words"}
    model = {"name": "encoder_classifier", "num_layers": 1, "num_heads": 2, "width": 8}
    sections = {**SKIP_GRAM, "data": data, "task": {"name": "classification"}, "model": model}
    config = write_config(tmp_path / "classifier.py", {**sections, "init": {"vectors": str(output)}})
    answer = launch("train", config, f"--workdir={tmp_path / 'run'}")
    assert answer.code == 0, answer.err
    assert f"3 of the 5 tokens have a vector in {output}" in answer.err + answer.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--table=tokn/embedding",), "no table 'tokn/embedding' with a row for each of the 6 tokens"),
        (("--checkpoint=first",), "--checkpoint=first"),
    ],
)
def test_what_is_not_there_is_refused(trained, tmp_path, words, message):
    answer = launch("vectors", f"--workdir={trained}", f"--output={tmp_path / 'v.txt'}", *words)
    assert answer.code == 2
    assert message in answer.err
    assert not (tmp_path / "v.txt").exists()


def test_a_run_without_words_has_no_vectors(tmp_path):
    config = write_config(tmp_path / "recall.py", {**RECALL, "steps": 1, "evaluation": {"every": 1}})
    assert launch("train", config, f"--workdir={tmp_path / 'run'}").code == 0
    answer = launch("vectors", f"--workdir={tmp_path / 'run'}", f"--output={tmp_path / 'v.txt'}")
    assert answer.code == 2
    assert "tokens are no words" in answer.err
