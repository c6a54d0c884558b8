"""Subwords: every text comes back, the same texts give the same ones, marks are no text."""

import os
import subprocess
import sys

import pytest

from attention_jax.data.digests import digest_of
from attention_jax.data.subwords import Subwords
from attention_jax.data.words import BEGIN, END, MARKS, PADDING

TEXTS = ["Ein kleiner Hund läuft, ein großer schläft.", "A little dog runs and a big dog sleeps."] * 3
SIZE = 300


@pytest.fixture(scope="module")
def subwords() -> Subwords:
    return Subwords(TEXTS, vocabulary_size=SIZE)


@pytest.mark.parametrize(
    "text",
    [
        "Ein Hund schläft.",
        "",
        "a",
        "two  blanks, and\ttab",
        "<end> of <padding>",
        "naïve – 日本語 🙂",
        "x" * 300,
        "'s n't 12.5%",
    ],
)
def test_any_text_comes_back(subwords, text):
    (ids,) = subwords.tokenize([text])
    assert min(ids, default=len(MARKS)) >= len(MARKS)
    assert max(ids, default=0) < len(subwords.vocabulary)
    assert subwords.detokenize([BEGIN, *ids, END, PADDING, 7]) == text
    assert subwords.detokenize(subwords.tokenize([f"  {text} "])[0]) == text


def test_a_frequent_word_is_one_token_wherever_it_stands(subwords):
    first, other = subwords.tokenize(["dog", "a dog"])
    assert first == other[-1:]
    assert [subwords.vocabulary[token] for token in first] == [" dog"]
    assert subwords.vocabulary[: len(MARKS)] == [*MARKS]


def test_lower_case_is_read_and_spelt_where_it_is_asked_for():
    lower = Subwords(TEXTS, vocabulary_size=SIZE, lowercase=True)
    assert lower.tokenize(["Ein HUND"]) == lower.tokenize(["ein hund"])
    assert lower.detokenize(lower.tokenize(["Ein HUND"])[0]) == "ein hund"


def test_the_vocabulary_is_as_large_as_asked_for_where_the_text_has_so_many(subwords):
    assert len(subwords.vocabulary) == SIZE
    assert len(Subwords(["ab ab"], vocabulary_size=8000).vocabulary) < 270


# A checkpoint's tokens mean what they did: on every Python, in every process, and with every version that is pinned.
def test_the_same_texts_give_the_same_subwords(subwords):
    words = digest_of("\n".join(subwords.vocabulary).encode())
    script = (
        "from attention_jax.data.digests import digest_of; from attention_jax.data.subwords import Subwords;"
        f"print(digest_of('\\n'.join(Subwords({TEXTS!r}, vocabulary_size={SIZE}).vocabulary).encode()))"
    )
    again = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert again == words == "0299eca765c211e3"


def test_tokenizers_uses_no_thread_that_it_warns_of(subwords, monkeypatch):
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    subwords.tokenize(TEXTS)
    assert "TOKENIZERS_PARALLELISM" not in os.environ
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    subwords.tokenize(TEXTS)
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"


@pytest.mark.parametrize("size", [0, 258])
def test_a_vocabulary_without_room_for_the_bytes_is_refused(refused, size):
    with refused(f"vocabulary_size={size}", "at least 259"):
        Subwords(TEXTS, vocabulary_size=size)
