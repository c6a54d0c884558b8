"""Tasks that score what a model writes: BLEU of translations, exact matches of actions."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from attention_jax import tasks
from attention_jax.data.dataset import Dataset
from attention_jax.data.pairs import PairTexts, pairs_dataset
from attention_jax.data.words import Words
from attention_jax.kernels import Refused

SOURCES = ["a b c", "c b", "b", "c c a b"]
# What the model writes, but for the last.
TARGETS = ["c b a", "b c", "b", "b a c a"]


def pairs() -> Dataset:
    texts = {split: PairTexts(SOURCES, TARGETS) for split in ("train", "validation")}
    words = Words([*SOURCES, *TARGETS], owner="a test")
    return pairs_dataset(texts, words, source_length=6, target_length=6, buckets=1, owner="a test")


class Reverses(nn.Module):
    """Writes its source from the end to the start."""

    begin: int = 1
    end: int = 2
    target_length: int = 6

    def start(self, source: jax.Array, *, source_lengths: jax.Array) -> Any:
        return {"source": source, "left": source_lengths - 1}

    def advance(self, state: Any, tokens: jax.Array, lengths: jax.Array) -> tuple[jax.Array, Any]:
        left = state["left"] - lengths
        token = jnp.take_along_axis(state["source"], jnp.maximum(left, 0)[:, None], axis=1)[:, 0]
        token = jnp.where(left < 0, self.end, token)
        return 9.0 * jax.nn.one_hot(token, 6), {**state, "left": left}


def written(task: Any, dataset: Dataset) -> dict[str, np.ndarray]:
    batch = dataset.splits["validation"].gather(np.arange(4))
    return jax.tree.map(np.asarray, jax.jit(lambda: task.collect(Reverses(), {}, batch, jax.random.key(0)))())


@pytest.mark.parametrize("beams", [1, 3])
def test_bleu_is_sacrebleu_of_what_beam_search_writes(beams):
    dataset, task = pairs(), tasks.build("translation", beams=beams)
    texts = [dataset.tokenizer.detokenize(row) for row in written(task, dataset)["written"].tolist()]
    assert texts == ["c b a", "b c", "b", "b a c c"]
    found = task.score(written(task, dataset), dataset, "validation")
    assert found == {"bleu": pytest.approx(BLEU().corpus_score(texts, [TARGETS]).score)}
    assert 10 < found["bleu"] < 100
    perfect = pairs_dataset(
        {"train": PairTexts(SOURCES, texts), "validation": PairTexts(SOURCES, texts)},
        dataset.tokenizer, source_length=6, target_length=6, buckets=1, owner="a test",
    )  # fmt: skip
    assert task.score(written(task, dataset), perfect, "validation")["bleu"] == pytest.approx(100)


def test_an_exact_match_is_of_all_tokens():
    dataset, task = pairs(), tasks.build("transduction")
    assert task.score(written(task, dataset), dataset, "validation") == {"exact_match": 0.75}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("translation", {"metric": "blue"}, r"^task translation has no metric 'blue'\. Did you mean 'bleu'"),
        ("translation", {"beams": 0}, r"^task translation has beams=0: give at least 1"),
        ("transduction", {"metric": "bleu"}, r"^task transduction has no metric 'bleu'"),
    ],
)
def test_options_that_cannot_be_are_refused(name, options, message):
    with pytest.raises(Refused, match=message):
        tasks.build(name, **options)


def test_a_model_that_writes_nothing_is_refused():
    task = tasks.build("translation")
    with pytest.raises(Refused, match=r"^task translation scores what a model writes, and model Dense has no steps"):
        task.collect(nn.Dense(3), {}, {}, jax.random.key(0))
