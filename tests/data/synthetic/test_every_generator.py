"""What holds for every generated benchmark: types, seeds, streams, refusals, and a model that reads them."""

import inspect
from typing import Any

import numpy as np
import pytest

from attention_jax import data, models, tasks
from attention_jax.data.dataset import data_sets
from tests.data.synthetic.small import SMALL, experiment_on


def build(name: str, *, train: int = 400, held_out: int = 100, **options: Any) -> data.Dataset:
    sizes = {"train_examples": train, "validation_examples": held_out, "test_examples": held_out}
    return data.build(name, **{**SMALL[name], **sizes, **options})


def told_apart(batch: dict[str, np.ndarray]) -> np.ndarray:
    """Returns what makes two examples different."""
    return next(batch[name] for name in ("story", "points", "source", "tokens", "inputs") if name in batch)


def split_of(dataset: data.Dataset, split: str) -> dict[str, np.ndarray]:
    source = dataset.splits[split]
    return source.gather(np.arange(len(source)))


def test_the_room_of_generators_holds_these_and_no_other():
    room = "attention_jax.data.synthetic."
    generators = {name for name in data.names() if data_sets.lookup(name).__module__.startswith(room)}
    assert generators == SMALL.keys()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_arrays_are_of_the_declared_types_and_within_the_facts(name, split):
    dataset = build(name)
    batch = split_of(dataset, split)
    facts = dataset.facts
    tokens = told_apart(batch)
    assert len(tokens) == len(dataset.splits[split])
    assert tokens.shape[1] <= facts["story_length" if "story" in batch else "length"]
    assert tokens.min() >= 0
    assert tokens.max() < (facts["vocabulary_size"] or 1)
    for field, array in batch.items():
        assert array.dtype == (np.float32 if field in ("weights", "points") else np.int32), field
    if "label" in batch:
        assert set(np.unique(batch["label"])) <= set(range(facts["num_classes"]))
        return
    assert set(np.unique(batch["weights"])) <= {0.0, 1.0}
    assert (batch["weights"].sum(axis=1) > 0).all(), "every example is asked something"
    assert (batch["targets"][batch["weights"] == 0] == 0).all()
    places = "target_lengths" in batch
    assert batch["targets"].max() < (facts["target_length"] if places else facts["vocabulary_size"])
    if "lengths" in batch:
        padding = np.arange(tokens.shape[1]) >= batch["lengths"][:, None]
        assert not (tokens * padding).any()
        assert not (batch["weights"] * padding).any()


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_alone_fixes_the_examples(name):
    """MAD draws its blanks from NumPy's global generator, so its seed does not fix them."""
    drawn = []
    for seed, state in ((3, 0), (3, 1), (4, 0)):
        np.random.seed(state)
        # Built anew: `data.build` would give the same object again.
        sizes = {"train_examples": 50, "validation_examples": 20, "test_examples": 20}
        drawn.append(data_sets.build(name, **SMALL[name], **sizes, seed=seed))
    for split in ("train", "validation", "test"):
        once, again, other = (split_of(dataset, split) for dataset in drawn)
        assert all((once[field] == again[field]).all() for field in once)
        assert any((once[field] != other[field]).any() for field in once)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "parity"])
def test_no_example_of_training_is_held_out(name):
    """ICLL's automata compare by identity, so train and test may share one."""
    dataset = build(name, train=3000, held_out=500)

    def rows(split: str) -> set[bytes]:
        source = dataset.splits[split]
        batches = [source.gather(np.array([row])) for row in range(len(source))]
        return {told_apart(batch).tobytes() for batch in batches}

    train = rows("train")
    assert not train & rows("validation")
    assert not train & rows("test")


@pytest.mark.parametrize("name", SMALL)
def test_splits_and_seeds_are_unlike(name):
    """Zoology's test split of seed s is the train split of seed s + 10."""
    tokens = [
        split_of(build(name, held_out=100, train=100, seed=seed), split)
        for seed in (0, 10)
        for split in ("train", "test")
    ]
    distinct = {row.tobytes() for batch in tokens for row in told_apart(batch)}
    assert len(distinct) > 300


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"test_examples": 0}, ["test_examples 0", "at least 1"]),
        ({"train_examples": -1}, ["train_examples -1"]),
        ({"seed": -1}, ["seed=-1", "at least 0"]),
        ({"seed": 2**32}, ["seed=4294967296"]),
    ],
)
def test_empty_splits_and_impossible_seeds_are_refused(refused, name, options, words):
    with refused(name, *words):
        data.build(name, **{**SMALL[name], **options})


@pytest.mark.parametrize("name", SMALL)
def test_the_docstring_tells_source_differences_and_every_option(name):
    builder = data_sets.lookup(name)
    told = inspect.getdoc(builder) or ""
    for words in ("Source: ", "arXiv ", "ifferences", "Args:", "Raises:"):
        assert words in told, words
    for option in inspect.signature(builder).parameters:
        assert option in told


@pytest.mark.parametrize("name", SMALL)
def test_a_model_and_a_task_read_all_of_it(name):
    sections = experiment_on(name)
    dataset = data.build(**sections["data"])
    model = models.build(**sections["model"], facts=dataset.facts)
    task = tasks.build(**sections["task"])
    for source in dataset.splits.values():
        task.check(model, source.gather(np.arange(1)))
