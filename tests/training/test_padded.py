"""A run over padded sequences: it learns to classify them, on any mesh as on one device; and what is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attention_jax.data import ArraySource, Dataset
from attention_jax.data.dataset import data_sets
from attention_jax.kernels import Refused
from attention_jax.training import Experiment
from tests.training import tiny
from tests.training.padded_on_devices import ENCODER, TEXTS


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of 0 to 8 letters, those of one class of vowels and those of the other of consonants."""
    rng = np.random.default_rng(0)
    rows = [("".join(rng.choice([*"aeiou"], number % 9)), "vowels") for number in range(60)]
    rows += [("".join(rng.choice([*"bcdfg"], number % 8 + 1)), "consonants") for number in range(60)]
    path = tmp_path_factory.mktemp("texts") / "texts.csv"
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return path


@pytest.fixture(scope="module")
def classifying(texts: Path) -> Callable[..., Experiment]:
    def make(**model: Any) -> Experiment:
        sections = {"data": {**TEXTS, "buckets": (4, 8), "path": str(texts)}, "task": {"name": "classification"}}
        return Experiment(**tiny.sections(model={**ENCODER, "init_stddev": 0.3, **model}, **sections))

    return make


def test_texts_of_unequal_length_are_classified(classifying, tmp_path):
    experiment = classifying()
    shapes = [{name: array.shape for name, array in batch.items()} for batch in experiment.abstract_batches]
    assert shapes == [{"tokens": (8, length), "lengths": (8,), "label": (8,)} for length in (4, 8)]
    outcome, _ = tiny.run(experiment, tmp_path)
    # All but the empty ones tell their class.
    assert (outcome.metric, outcome.score > 0.85) == ("test_accuracy", True)
    losses = [line["train_loss"] for line in tiny.lines(tmp_path) if "train_loss" in line]
    assert sum(losses[-4:]) < 0.6 * sum(losses[:4])


def test_a_variant_that_cannot_leave_padding_out_is_refused_before_there_is_a_step(classifying):
    with pytest.raises(Refused, match=r"^delta_net .* needs a causal mask, but was given Padding: .* scaled_dot\."):
        classifying(attention="delta_net")


def test_an_array_that_nobody_reads_is_refused_in_any_split(monkeypatch):
    arrays = {"inputs": np.zeros((8, 4), np.int32), "targets": np.zeros((8, 4), np.int32), "weights": np.ones((8, 4))}
    facts = {"vocabulary_size": 3, "length": 4}

    def build(where: str) -> Experiment:
        splits = {
            name: {**arrays, **({"weight": np.ones(8)} if name == where else {})} for name in ("train", "validation")
        }
        dataset = Dataset(splits={name: ArraySource(fields) for name, fields in splits.items()}, facts=facts)
        monkeypatch.setattr(data_sets, "_builders", {**data_sets._builders, where: lambda: dataset})
        return Experiment(**tiny.sections(data={"name": where}))

    for split in ("train", "validation"):
        with pytest.raises(
            Refused, match=r"^this data set gives weight, which neither model GPT .* nor task token_pred"
        ):
            build(split)
    build("none")


@pytest.fixture(scope="module")
def found(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    rng, documents = np.random.default_rng(0), tmp_path_factory.mktemp("documents") / "documents.txt"
    documents.write_text("#".join("abcdefgh"[: rng.integers(2, 9)] for _ in range(120)))
    here = Path(__file__)
    process = subprocess.run(
        [sys.executable, "-m", "tests.training.padded_on_devices", str(texts), str(documents)],
        cwd=here.parents[2],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", ["texts", "documents"])
def test_two_devices_give_the_losses_of_one_however_padded_tokens_are_spread(found, kind):
    one, *others = found[kind].values()
    assert len(others) == {"texts": 4, "documents": 2}[kind]
    for losses in others:
        assert losses == pytest.approx(one, rel=1e-4)


def test_a_length_that_the_devices_do_not_divide_is_refused(found):
    assert found["odd"]["ring"].startswith("5 query tokens do not divide among 2 devices: pad them.")
