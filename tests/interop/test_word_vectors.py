"""word2vec's text and binary formats: there and back, what gensim writes, and files that are not whole."""

import re

import numpy as np
import pytest

from attention_jax.base.errors import Refused
from attention_jax.interop.word_vectors import read_word_vectors, write_word_vectors

WORDS = ["the", "naïve", "cat's", "猫"]
VECTORS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["vectors.txt", "vectors.bin"])
def test_what_is_written_is_read_to_the_bit(tmp_path, name):
    write_word_vectors(tmp_path / name, WORDS, VECTORS)
    found = read_word_vectors(tmp_path / name)
    assert found.words == WORDS
    np.testing.assert_array_equal(found.vectors, VECTORS)


def test_the_formats_are_those_of_the_program(tmp_path):
    write_word_vectors(tmp_path / "v.txt", ["a", "b"], np.array([[1, -0.5], [0.25, 2]]))
    assert (tmp_path / "v.txt").read_bytes() == b"2 2\na 1 -0.5\nb 0.25 2\n"
    write_word_vectors(tmp_path / "v.bin", ["a"], np.array([[1, -0.5]]))
    assert (tmp_path / "v.bin").read_bytes() == b"1 2\na \x00\x00\x80\x3f\x00\x00\x00\xbf\n"


def test_binary_files_without_ends_of_lines_are_read(tmp_path):
    numbers = VECTORS.astype("<f4")
    rows = b"".join(word.encode() + b" " + row.tobytes() for word, row in zip(WORDS, numbers, strict=True))
    (tmp_path / "v.bin").write_bytes(b"4 3\n" + rows)
    found = read_word_vectors(tmp_path / "v.bin")
    assert found.words == WORDS
    np.testing.assert_array_equal(found.vectors, VECTORS)


def binary(cut=None):
    rows = b"".join(word.encode() + b" " + row.tobytes() + b"\n" for word, row in zip(WORDS, VECTORS, strict=True))
    return (b"4 3\n" + rows)[:cut]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.txt", b"", "begin with b''"),
        ("v.txt", b"the 1 2\ncat 3 4\n", "begin with b'the 1 2'"),
        ("v.txt", b"0 3\n", "have 0 words of 3 dimensions"),
        ("v.bin", b"3 0\n", "have 3 words of 0 dimensions"),
        ("v.txt", b"2 2\na 1 2\n", "have 1 words where the first line says 2: the file is cut short"),
        ("v.txt", b"2 2\na 1 2\nb 1\n", "line 3 of .* is not a word and 2 numbers"),
        ("v.txt", b"1 2\na 1 x\n", "line 2 of .* is not a word and 2 numbers"),
        ("v.txt", b"2 1\na 1\na 2\n", "have 'a' twice"),
        ("v.txt", b"1 1\na nan\n", "a number of 'a' that is not finite"),
        ("v.txt", b"1 1\n\xff 1\n", r"word 1 of .* is not UTF-8"),
        ("v.bin", binary(-5), "end within word 4 of 4: the file is cut short"),
        ("v.bin", binary() + b"more", "go on after word 4"),
        ("v.bin", b"1 1\n\xff \x00\x00\x00\x00\n", r"word 1 of .* is not UTF-8"),
    ],
)
def test_files_that_are_not_whole_are_refused_in_a_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refused, match=message) as refusal:
        read_word_vectors(tmp_path / name)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Refused, match=re.escape(f"{str(tmp_path / 'v.txt')!r} cannot be read (No such file")):
        read_word_vectors(tmp_path / "v.txt")


@pytest.mark.parametrize(
    ("words", "message"), [([], "vocabulary is of size 0"), (["a b"], "the word 'a b'"), ([""], "the word ''")]
)
def test_words_that_cannot_be_written_are_refused(tmp_path, words, message):
    with pytest.raises(Refused, match=message):
        write_word_vectors(tmp_path / "v.txt", words, np.zeros((len(words), 2)))
