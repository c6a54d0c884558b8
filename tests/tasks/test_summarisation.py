"""Summaries scored by ROUGE, and a word copied end to end; places pointed at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import data, models, tasks
from attention_jax.base.errors import Refused
from attention_jax.decoding.constraints import Distinct, Never
from attention_jax.tasks.summarisation import lead, rouge
from tests.layers.arrays import random_variables


def test_rouge_of_a_case_by_hand():
    # One word of two in common: P = R = 1/2; no pair; "cats" and "cat" have one stem.
    found = rouge(["a Cat"], ["cat, dog"])
    assert found == pytest.approx({"rouge1": 50.0, "rouge2": 0.0, "rougeL": 50.0})
    assert rouge(["cats"], ["cat"])["rouge1"] == 0
    assert rouge(["cats"], ["cat"], stemmer=True)["rouge1"] == pytest.approx(100)
    assert lead(["one two  three"], 2) == ["one two"]


def test_a_word_that_no_vocabulary_has_is_copied_and_counted(tmp_path):
    for split, word in (("train", "cat"), ("validation", "quux")):
        (tmp_path / f"{split}.tsv").write_text(f"source\ttarget\n{word} {word} {word}\t{word}\n")
    dataset = data.build(
        "summaries",
        **{"train": "train.tsv", "validation": "validation.tsv", "folder": str(tmp_path)},
        **{"source_length": 3, "target_length": 3, "min_count": 1, "buckets": ()},
    )
    lstm = {"width": 3}
    model = models.build(
        "pointer_generator", facts=dataset.facts, width=4, encoder={**lstm, "bidirectional": True}, decoder=lstm
    )
    source = dataset.splits["validation"]
    batch = source.gather(np.arange(1))
    variables = random_variables(model, **models.arrays_of(model, batch))
    params = variables["params"]
    # What it does not copy is the end: of the second word it is sure, of the first it is not.
    params["generate"]["kernel"] = jnp.zeros_like(params["generate"]["kernel"])
    params["generate"]["bias"] = jnp.full((1,), -1.0)
    params["vocabulary"]["kernel"] = jnp.zeros_like(params["vocabulary"]["kernel"])
    params["vocabulary"]["bias"] = jnp.array([0, 0, 0, 20.0, 0])
    task = tasks.build("summarisation", beams=2)
    collected = task.collect(model, variables, batch, jax.random.key(0))
    found = task.score({name: np.asarray(array) for name, array in collected.items()}, dataset, "validation")
    copies = int((collected["written"] == dataset.facts["vocabulary_size"]).sum())
    assert copies >= 1
    assert found["copied_words"] == copies == found["copied_words_right"]
    assert found["rouge1"] > 0


def test_options_that_cannot_be_are_refused():
    with pytest.raises(Refused, match=r"^task summarisation has no metric 'rouge'\. Did you mean 'rouge"):
        tasks.build("summarisation", metric="rouge")
    with pytest.raises(Refused, match=r"beams=0"):
        tasks.build("summarisation", beams=0)


def test_constraints_forbid_what_was_chosen_and_what_never_may_be():
    logits = jnp.zeros((2, 4))
    tokens, lengths = jnp.array([[1, 0, 3], [2, 2, 0]]), jnp.array([2, 1])
    found = Distinct(but=(0,))(tokens, lengths, logits)
    assert (found == -jnp.inf).tolist() == [[False, True, False, False], [False, False, True, False]]
    assert (Never((1, 3))(tokens, lengths, logits) == -jnp.inf).tolist() == [[False, True, False, True]] * 2


@pytest.mark.parametrize("distinct", [False, True])
def test_places_are_pointed_at_and_scored(distinct):
    facts = {"train_examples": 8, "validation_examples": 8, "test_examples": 8}
    dataset = data.build("sorting", numbers=30, shortest=3, longest=4, **facts)
    model = models.build("pointer_network", facts=dataset.facts, width=4, encoder={"width": 4}, decoder={"width": 4})
    batch = dataset.splits["validation"].gather(np.arange(8))
    variables = random_variables(model, **models.arrays_of(model, batch))
    task = tasks.build("pointing", distinct=distinct)
    collected = {
        name: np.asarray(array) for name, array in task.collect(model, variables, batch, jax.random.key(0)).items()
    }
    for row in collected["pointed"].tolist():
        places = row[: row.index(0)] if 0 in row else row
        assert not distinct or len({*places}) == len(places)
    perfect = {**collected, "pointed": collected["targets"].copy()}
    assert task.score(perfect, dataset, "validation") == {"exact_match": 1.0, "right_places": 1.0}
    perfect["pointed"][0, 0] += 1
    wrong = task.score(perfect, dataset, "validation")
    items = int((batch["targets"] > 0).sum())
    assert wrong == {"exact_match": 7 / 8, "right_places": pytest.approx(1 - 1 / items)}
