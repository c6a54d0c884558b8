"""The comparisons that are shipped: each of their cells can be trained, at a size that a test has time for."""

import io
import math
from pathlib import Path
from typing import Any

import pytest

from attention_jax.study.reproduction.rows import Row, find_rows
from attention_jax.training import Experiment, Progress, train
from attention_jax.training.run.workdir import read_lines
from tests.launch.command_line import ROOT

ROWS = [
    *("complex_order", "complex_order_movie_reviews", "positions_gpt", "positions_transformer", "mqar_recipes"),
    *("attention_in_encoder", "attention_in_decoder", "attention_in_cross_attention"),
    *("pooling_banking77", "cnn_attention", "alignments_multi30k"),
]
WITHOUT_A_STACK = ("recurrent_classifier", "cnn_classifier", "seq2seq")
STACK = {"num_layers": 1, "num_heads": 2, "width": 16, "hidden": 16}
WORDS = ("a", "dog", "and", "two", "cats", "run", "to", "the", "old", "house")
TEXTS = [" ".join(WORDS[number % 3 : 4 + number % 5]) for number in range(24)]


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    return {row.name: row for row in find_rows(ROOT / "experiments")}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what stands in for each set of texts: sentences, their copies in capitals, and two classes."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "plain.txt").write_text("\n".join(TEXTS * 8))
    for split in ("train", "val", "test_2016_flickr"):
        (folder / f"{split}.en").write_text("\n".join(TEXTS))
        (folder / f"{split}.de").write_text("\n".join(text.upper() for text in TEXTS))
    rows = [f'"{text}",{label}' for text in TEXTS * 4 for label in ("lost", "new")]
    (folder / "intents.csv").write_text("\n".join(["text,category", *rows]))
    for label in ("neg", "pos"):
        (folder / "reviews" / label).mkdir(parents=True)
        for number, text in enumerate(TEXTS):
            (folder / "reviews" / label / f"cv{900 if number < 4 else 0}{number}.txt").write_text(text)
    return folder


def small(sections: dict[str, Any], texts: Path) -> dict[str, Any]:
    """Returns the config of a cell, cut to 2 steps on a few texts of stacks of one narrow layer."""
    of_texts = {"name": "parallel_texts", "folder": str(texts), "tests": ("test_2016_flickr",)}
    data, pairs = sections["data"], {**of_texts, "length": 24, "vocabulary_size": 300, "buckets": ()}
    changed: dict[str, dict[str, Any]] = {
        "parallel_texts": pairs,
        "scan": pairs,
        "tfds_characters": {"name": "text_file", "path": str(texts / "plain.txt"), "context": 8, "longer": (2, 4)},
        "text_folder": {**data, "path": str(texts / "reviews"), "context": 8, "min_count": 1},
        "text_classification": {**data, "path": str(texts / "intents.csv"), "test_path": None, "min_count": 1},
        "mqar": {**data, "vocabulary_size": 32, "length": 16, "train_examples": 32, "validation_examples": 8},
    }
    model = sections["model"]
    stacks = {name: {**part, **STACK} for name, part in model.items() if name in ("encoder", "decoder")}
    optimizer = {**sections["optimizer"], "schedule": {**sections["optimizer"]["schedule"], "warmup_steps": 1}}
    return {
        **sections,
        "data": changed[data["name"]],
        "model": {**model, **({} if model["name"] in WITHOUT_A_STACK else stacks or STACK)},
        "optimizer": optimizer,
        "batch_size": 4,
        "steps": 2,
        "evaluation": {**sections["evaluation"], "every": 2, "batch_size": 4},
    }


@pytest.mark.parametrize("name", ROWS)
def test_every_cell_of_a_comparison_is_built(rows, texts, name):
    for entry in rows[name].entries:
        Experiment(**small(entry.config_of(0), texts))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("positions_gpt", "shakespeare / learned"),
        ("attention_in_cross_attention", "multi30k / monotonic"),
        ("cnn_attention", "banking77 / asked_by_lstm"),
    ],
)
def test_a_cell_of_a_comparison_is_trained_and_has_every_measure_of_its_row(rows, texts, tmp_path, name, label):
    entry = next(entry for entry in rows[name].entries if entry.label == label)
    train(Experiment(**small(entry.config_of(0), texts)), tmp_path, progress=Progress(stream=io.StringIO()))
    found = {name: value for line in read_lines(tmp_path / "metrics.jsonl") for name, value in line.items()}
    declared = rows[name].declared
    assert all(math.isfinite(found[measure]) for measure in (declared.metric, *declared.also))
