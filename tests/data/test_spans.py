"""Questions whose answers are parts of passages: tokens, characters, no answer, forms of file; what is refused."""

import json
import os

import numpy as np
import pytest

from attention_jax import data
from tests.missing import missing

TEXT = "In 1956 the Big Club moved, 7pm."


def squad(*asked, text=TEXT):
    """Returns SQuAD's JSON of one passage; each question is (id, question, (text, start) ...)."""
    qas = [
        {
            "id": name,
            "question": question,
            "answers": [{"text": part, "answer_start": start} for part, start in answers],
        }
        for name, question, *answers in asked
    ]
    return {"version": "1.1", "data": [{"title": "x", "paragraphs": [{"context": text, "qas": qas}]}]}


def utterance(text, *labels, requested=()):
    return {
        "userInput": {"text": text},
        **({"context": {"requestedSlots": list(requested)}} if requested else {}),
        **({"labels": [{"slot": slot, "valueSpan": span} for slot, span in labels]} if labels else {}),
    }


WHEN = squad(("a", "When?", ("1956", 3)), ("b", "Who moved?", ("the Big Club", 8), ("Big Club", 12)))
SLOTS = [
    utterance(
        "at 7pm for two", ("time", {"startIndex": 3, "endIndex": 6}), ("first_name", {"startIndex": 11, "endIndex": 14})
    ),
    utterance("6 a.m.", ("time", {"endIndex": 6}), requested=["time"]),
    utterance("hello"),
]


@pytest.fixture
def build(tmp_path):
    """`build(train=..., validation=..., **options)` is the data set of JSON files of this content."""

    def make(train=WHEN, validation=None, test=None, **options):
        names = {}
        for split, content in {"train": train, "validation": validation or train, "test": test}.items():
            if content is not None:
                text = content if isinstance(content, bytes) else json.dumps(content).encode()
                (tmp_path / f"{split}.json").write_bytes(text)
                names[split] = f"{split}.json"
        data.dataset._built.cache_clear()
        return data.build("spans", folder=str(tmp_path), **{**names, "passage_length": 12, **options})

    return make


def spelt(dataset, split, row, text="passage"):
    batch = dataset.splits[split].gather(np.array([row]))
    return [dataset.facts["vocabulary"][token] for token in batch[text][0, : batch[f"{text}_lengths"][0]]]


def test_tokens_know_their_characters(build):
    dataset = build()
    source = dataset.splits["train"]
    words = ["in", "1956", "the", "big", "club", "moved", ",", "7", "pm", "."]
    assert spelt(dataset, "train", 0) == spelt(dataset, "train", 1) == words
    assert spelt(dataset, "train", 1, "question") == ["who", "moved", "?"]
    batch = source.gather(np.array([0, 1]))
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int32)}
    assert (batch["start"].tolist(), batch["end"].tolist()) == ([1, 2], [1, 4])
    for row, text in ((0, "1956"), (1, "the Big Club")):
        start, end = source.span(row, int(batch["start"][row]), int(batch["end"][row]))
        assert TEXT[start:end] == text
    assert source.span(0, 7, 8) == (28, 31)
    assert source.questions[1].answers == ((8, 20), (12, 20))
    assert not dataset.facts["no_answer"]


def test_an_utterance_is_asked_for_each_slot_and_may_have_no_answer(build):
    dataset = build(SLOTS)
    source = dataset.splits["train"]
    asked = [(one.slot, one.question, one.answers) for one in source.questions]
    assert asked == [
        ("first_name", "first name", ((11, 14),)),
        ("time", "time", ((3, 6),)),
        ("first_name", "first name", ()),
        ("time", "time requested", ((0, 6),)),
        ("first_name", "first name", ()),
        ("time", "time", ()),
    ]
    assert spelt(dataset, "train", 0) == ["<no answer>", "at", "7", "pm", "for", "two"]
    batch = source.gather(np.arange(6))
    assert list(zip(batch["start"].tolist(), batch["end"].tolist(), strict=True)) == [
        (5, 5),
        (2, 3),
        (0, 0),
        (1, 5),
        (0, 0),
        (0, 0),
    ]
    # Whatever it ends with, a span from the mark on is no answer.
    assert source.span(0, 0, 0) is None
    assert source.span(0, 0, 3) is None
    assert source.span(1, 2, 3) == (3, 6)


def test_a_span_that_ends_within_a_token_is_widened_and_blanks_at_its_ends_do_not_count(build):
    dataset = build(squad(("a", "What?", (" Big Clu", 11))))
    source = dataset.splits["train"]
    batch = source.gather(np.array([0]))
    assert source.span(0, int(batch["start"][0]), int(batch["end"][0])) == (12, 20)
    assert source.questions[0].answers == ((12, 19),)


def test_what_is_cut_is_left_out_of_training_and_is_at_no_token_elsewhere(build):
    dataset = build(passage_length=4)
    assert len(dataset.splits["train"]) == 1
    batch = dataset.splits["validation"].gather(np.arange(2))
    assert (batch["start"].tolist(), batch["end"].tolist()) == ([1, -1], [1, -1])
    assert [note.partition(": ")[2] for note in dataset.notes] == [
        "the answers of 1 of 2 train questions are beyond the first 4 tokens, and are left out",
        "the answers of 1 of 2 validation questions are beyond the first 4 tokens, and cannot be found",
    ]


def test_words_and_characters_are_those_of_training(build):
    other = squad(("z", "Whom?", ("Émile", 0)), text="Émile came 7pm")
    dataset = build(validation=other, characters=4)
    assert spelt(dataset, "validation", 0) == ["<unknown>", "<unknown>", "7", "pm"]
    batch = dataset.splits["validation"].gather(np.array([0]))
    assert batch["passage_characters"].shape == (1, 10, 4)
    assert batch["question_characters"].shape == (1, 3, 4)
    emile, seven = batch["passage_characters"][0, [0, 2]]
    # É is unknown, m, i and l are known; what is longer than 4 is cut.
    assert emile[0] == 1
    assert (emile[1:] > 1).all()
    assert seven[1:].tolist() == [0, 0, 0]
    assert (batch["passage_characters"][0, 4:] == 0).all()
    assert dataset.facts["character_vocabulary_size"] == len({*"In1956theBigClubmoved,7pm.When?Whomv"}) + 2
    assert build().facts["character_vocabulary_size"] == 0


def test_validation_and_test_are_drawn_by_passage(tmp_path):
    paragraphs = [
        {
            "context": f"passage {number} here",
            "qas": [
                {"id": f"{number}-{one}", "question": "Which?", "answers": [{"text": str(number), "answer_start": 8}]}
                for one in range(2)
            ],
        }
        for number in range(10)
    ]
    (tmp_path / "all.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    options = {"train": "all.json", "folder": str(tmp_path), "passage_length": 5, "validation_fraction": 0.2}
    dataset = data.build("spans", **options, test_fraction=0.1, seed=1)
    passages = {split: {one.passage for one in source.questions} for split, source in dataset.splits.items()}
    assert {split: (len(of), len(dataset.splits[split])) for split, of in passages.items()} == {
        "train": (7, 14),
        "validation": (2, 4),
        "test": (1, 2),
    }
    assert len(set.union(*passages.values())) == 10
    other = data.build("spans", **options, seed=2)
    assert {one.passage for one in other.splits["validation"].questions} != passages["validation"]


@pytest.mark.parametrize(
    ("contents", "options", "words"),
    [
        (
            {"train": squad(("q7", "When?", ("1957", 3)))},
            {},
            ["question 'q7'", "'1957' at character 3", "'1956' there"],
        ),
        ({"train": squad(("q7", "When?", ("later", 99)))}, {}, ["question 'q7'", "character 99", "32"]),
        (
            {"train": [utterance("hi you", ("time", {"startIndex": 3, "endIndex": 9}))]},
            {},
            ["item 1", "slot 'time'", "from character 3 up to 9", "of 6"],
        ),
        ({"train": [utterance("hi you", ("time", {"startIndex": 2, "endIndex": 3}))]}, {}, ["item 1", "not blank"]),
        (
            {"train": SLOTS, "test": [utterance("hi", ("cost", {"endIndex": 2}))]},
            {},
            ["item 1", "test.json", "'cost'", "no training item has"],
        ),
        ({"train": SLOTS, "test": [utterance("hi", requested=["cost"])]}, {}, ["item 1", "'cost'"]),
        ({"train": SLOTS, "test": WHEN}, {}, ["differ in form"]),
        ({"validation": squad(("q9", "Why?"))}, {}, ["question 'q9'", "has no answer", "each training question"]),
        ({"train": squad(("q9", " ", ("1956", 3)))}, {}, ["question 'q9'", "empty question"]),
        ({"train": [utterance(" ")]}, {}, ["no question"]),
        ({"train": {"data": [{"paragraphs": [{"qas": []}]}], "x": 1}}, {}, ["no question"]),
        ({"train": {"rows": []}}, {}, ["neither SQuAD's JSON", "KeyError: 'data'"]),
        ({"train": [{"text": "a"}]}, {}, ["neither SQuAD's JSON", "userInput"]),
        ({"train": b"{"}, {}, ["is no JSON"]),
        ({"train": b'["\xff"]'}, {}, ["is not UTF-8"]),
        ({}, {"passage_length": 1}, ["passage_length=1", "at least 2"]),
        (
            {},
            {"passage_length": 2, "train": squad(("a", "Who?", ("moved", 21)))},
            ["no training answer", "first 2 tokens"],
        ),
        ({}, {"characters": -1}, ["characters=-1"]),
        ({}, {"dataset": "xquad/en"}, ["dataset='xquad/en'", "folder="]),
        ({}, {"min_count": 99}, ["size 0"]),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(build, refused, contents, options, words):
    with refused(*words):
        build(**{**contents, **options})


def test_a_split_without_a_passage_is_refused(tmp_path, refused):
    (tmp_path / "all.json").write_text(json.dumps(WHEN))
    options = {"train": "all.json", "folder": str(tmp_path), "passage_length": 12}
    for fraction, words in ((0.1, ["leave the split validation empty"]), (0.0, ["fractions"]), (1.5, ["fractions"])):
        with refused(*words):
            data.build("spans", **options, validation_fraction=fraction)


def test_restaurants_8k_is_read_whole(monkeypatch):
    folder = os.environ.get("ATTENTION_JAX_DATA")
    if folder is None:
        missing("set ATTENTION_JAX_DATA to a folder that has restaurant8k_spans, with train_0.json and test.json")
    monkeypatch.setenv("TEXTS_DATA_DIR", folder)
    names = {"folder": "restaurant8k_spans", "train": "train_0.json", "test": "test.json"}
    dataset = data.build("spans", **names, passage_length=48, question_length=3, characters=12)
    source = dataset.splits["test"]
    assert len(source) == 5 * 3731
    assert sum(len(dataset.splits[split]) for split in ("train", "validation")) == 5 * 8198
    assert sum(bool(one.answers) for one in source.questions) == 3477
    batch = source.gather(np.arange(len(source)))
    spans = [source.span(row, *both) for row, both in enumerate(zip(batch["start"], batch["end"], strict=True))]
    # Every answer of its files begins and ends where a token does.
    assert [None if not one.answers else one.answers[0] for one in source.questions] == spans


def test_xquad_is_the_same_from_its_file_and_from_tfds(monkeypatch, prepared):
    folder = os.environ.get("ATTENTION_JAX_DATA")
    if folder is None:
        missing("set ATTENTION_JAX_DATA to a folder that has xquad_en/xquad.en.json")
    monkeypatch.setenv("TEXTS_DATA_DIR", folder)
    options = {"passage_length": 400, "validation_fraction": 0.2, "min_count": 1}
    from_file = data.build("spans", folder="xquad_en", train="xquad.en.json", **options)
    from_tfds = data.build("spans", dataset="xquad/en", train="test", **options)
    every = [
        sorted(
            (one.passage, one.question, one.answers) for source in dataset.splits.values() for one in source.questions
        )
        for dataset in (from_file, from_tfds)
    ]
    assert len(every[0]) > 1180
    assert every[0] == every[1]
