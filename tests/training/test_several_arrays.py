"""A model of two inputs with lengths of their own: by keyword at init, in steps of every shape, and in evaluations."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models, tasks
from attention_jax.base.errors import Refused
from attention_jax.data import Dataset
from attention_jax.data.dataset import data_sets
from attention_jax.models.catalogue import register
from attention_jax.tasks.task import Task
from attention_jax.training import Experiment
from attention_jax.training.evaluations import evaluate
from attention_jax.training.run.meter import tokens_of
from tests.training import tiny

WORDS, SHAPES = 5, ((3, 2), (3, 4), (6, 4))


class Pairs:
    """Sources and targets of the lengths of a few shapes, eight rows of each."""

    def __init__(self, seed: int, *, other: bool):
        rng = np.random.default_rng(seed)
        self.padded_lengths = np.repeat(SHAPES, 8, axis=0)
        self._other, rows = other, len(self.padded_lengths)
        self._tokens = rng.integers(WORDS, size=(rows, 2, 6), dtype=np.int32)

    def __len__(self) -> int:
        return len(self.padded_lengths)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        (source, target), tokens = self.padded_lengths[indices[0]], self._tokens[indices]
        return {
            "source": tokens[:, 0, :source],
            "source_lengths": np.full(len(indices), source - 1, np.int32),
            "inputs": tokens[:, 1, :target],
            "targets": tokens[:, 1, :target],
            "weights": np.ones((len(indices), target), np.float32),
            **({"other": np.ones(len(indices))} if self._other else {}),
        }


class Reader(nn.Module):
    """Each token beside the mean of the source's tokens within its length; it has no table of rules."""

    vocabulary_size: int
    reads: ClassVar[tuple[str, ...]] = ("source", "inputs")
    may_read: ClassVar[tuple[str, ...]] = ("source_lengths", "target_lengths")

    @nn.compact
    def __call__(
        self,
        *,
        inputs: jax.Array,
        source: jax.Array,
        target_lengths: jax.Array | None = None,
        source_lengths: jax.Array | None = None,
        deterministic: bool = True,
    ) -> jax.Array:
        assert target_lengths is None
        embed = nn.Embed(self.vocabulary_size, 4, name="token")
        real = jnp.arange(source.shape[1]) < source_lengths[:, None]
        read = (embed(source) * real[..., None]).sum(1) / real.sum(1)[:, None]
        return nn.Dense(self.vocabulary_size, name="head")(embed(inputs) + read[:, None])


@pytest.fixture(scope="module", autouse=True)
def _registered():
    """The model, the data and the task of this file, in the catalogues while its tests run."""

    def pairs(*, other: bool = False) -> Dataset:
        splits = {split: Pairs(seed, other=other) for seed, split in enumerate(("train", "validation"))}
        return Dataset(splits, {"vocabulary_size": WORDS})

    def contrasted() -> Task:
        return replace(tasks.build("token_prediction"), whole_batch=True)

    data_sets.register(pairs)
    tasks.tasks.register(contrasted)
    register("reader")(Reader)
    yield
    for catalogue, name in ((data_sets, "pairs"), (tasks.tasks, "contrasted"), (models.models, "reader")):
        del catalogue._builders[name]


def built(**changes) -> Experiment:
    return Experiment(**tiny.sections(**{"data": {"name": "pairs"}, "model": {"name": "reader"}, **changes}))


def test_it_trains_and_is_evaluated_on_every_shape(tmp_path: Path):
    experiment = built()
    shapes = [(batch["source"].shape[1], batch["inputs"].shape[1]) for batch in experiment.abstract_batches]
    assert shapes == list(SHAPES)
    work = [experiment.flops_of(batch) for batch in experiment.abstract_batches]
    assert [each.complete for each in work] == [True] * 3
    # The work is that of the head, forward and back, at each token that is predicted.
    assert [each.count for each in work] == [3 * 2 * 8 * length * 4 * WORDS for _, length in SHAPES]
    outcome, _ = tiny.run(experiment, tmp_path)
    losses = [line["validation_loss"] for line in tiny.lines(tmp_path) if "validation_loss" in line]
    assert losses[-1] == outcome.score < losses[0]
    # A source counts up to its length, which is one less; the targets, which have none, as they are.
    batch = experiment.dataset.splits["train"].gather(np.arange(8))
    assert tokens_of(batch, Reader.reads) == 8 * (2 + 2)


def test_an_evaluation_is_that_of_the_rows_one_by_one():
    experiment = built()
    state, split = experiment.create_state(0), experiment.dataset.splits["validation"]
    total, weight = 0.0, 0.0
    for place in range(0, len(split), 5):
        row = split.gather(np.array([place]))
        loss = experiment.task.run(experiment.model, state.variables, row)["loss"]
        total, weight = total + float(loss.total), weight + float(loss.weight)
        # What lies behind the end of the source is not read.
        behind = {**row, "source": np.concatenate([row["source"][:, :-1], row["source"][:, -1:] * 0 + 1], 1)}
        assert float(experiment.task.run(experiment.model, state.variables, behind)["loss"].total) == float(loss.total)
    fifth = np.arange(0, len(split), 5)
    some = replace(experiment.dataset, splits={**experiment.dataset.splits, "validation": _Rows(split, fifth)})
    experiment.dataset = some
    assert evaluate(experiment, state, ("validation",))["validation_loss"] == pytest.approx(total / weight, rel=1e-5)


class _Rows:
    """Some rows of a split."""

    def __init__(self, split: Pairs, rows: np.ndarray):
        self._split, self._rows, self.padded_lengths = split, rows, split.padded_lengths[rows]

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return self._split.gather(self._rows[indices])


def test_an_array_that_nobody_reads_is_still_refused():
    with pytest.raises(Refused, match=r"^this data set gives other, which neither model Reader \(it reads source"):
        built(data={"name": "pairs", "other": True})


def test_data_without_one_of_the_arrays_are_refused():
    with pytest.raises(Refused, match=r"^model Reader reads source, inputs: source is not in this data set"):
        built(data=tiny.SECTIONS["data"])


def test_a_loss_that_couples_the_rows_of_a_batch_is_not_run_in_parts():
    assert built(task={"name": "contrasted"}).task.whole_batch
    with pytest.raises(Refused, match=r"^accumulation=2: task contrasted compares the rows of a batch"):
        built(task={"name": "contrasted"}, accumulation=2)
