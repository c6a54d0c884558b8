"""Streaming: the pieces are what `generate` makes, whatever the chunk; stop strings are found and never shown."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from attention_jax.base.errors import Refused
from attention_jax.decoding import AtLeast, Only, Sampling, generate, stream
from attention_jax.decoding.stream import _proceed
from tests.decoding.language_models import Table, padded

TABLE = Table.drawn(3, 7)
PROMPTS = [[1], [2, 3, 4, 1], [5, 5], [1, 2, 3]]
# Token 0 ends; one token is several letters, and two are halves of one character.
LETTERS = [b"", b"a", b"b", b"ab", b"\xc3", b"\xa9", b"c"]
SAMPLING = dict(sampling=Sampling(temperature=1.2), rng=jax.random.key(3))
MOST = 14


def decode(tokens):
    return b"".join(LETTERS[token] for token in tokens).decode(errors="replace")


def function(state, tokens, lengths):
    return TABLE.advance(state, tokens, lengths)


def streamed(**arguments):
    given = {"decode": decode, "max_new_tokens": MOST, "end": (0,), **SAMPLING, **arguments}
    return list(stream(function, TABLE.start(4), *padded(PROMPTS), **given))


def whole(chunks):
    """Returns what the pieces of each row are together."""
    rows = zip(*chunks, strict=True)
    return [
        (
            sum((p.tokens for p in row), ()),
            "".join(p.text for p in row),
            sum(p.log_probability for p in row),
            row[-1].over,
        )
        for row in rows
    ]


@pytest.mark.parametrize("chunk", [1, 5, MOST, 100])
def test_the_pieces_together_are_what_generate_makes(chunk):
    made = generate(function, TABLE.start(4), *padded(PROMPTS), max_new_tokens=MOST, end=(0,), **SAMPLING)
    chunks = streamed(chunk=chunk)
    assert len(chunks) == -(-int(made.lengths.max()) // chunk)
    for row, (tokens, text, log_probability, over) in enumerate(whole(chunks)):
        assert list(tokens) == made.tokens[row, : made.lengths[row]].tolist()
        assert text == decode(tokens)
        assert over == ("end" if made.ended[row] else "length")
        np.testing.assert_allclose(log_probability, made.log_probability[row], rtol=1e-5)


def cut(tokens, stop):
    """Returns the first tokens whose text holds a stop string, and the text before it, with a look at each token."""
    for count in range(1, len(tokens) + 1):
        text = decode(tokens[:count])
        places = [text.find(word) for word in stop if word in text]
        if places:
            return tokens[:count], text[: min(places)], "stop"
    # An end token, 0, is empty text.
    return tokens, decode(tokens), None


@pytest.mark.parametrize("stop", [("ba",), ("cab", "bb"), ("éc",), ("aab", "ab")])
def test_stop_strings_cut_at_the_same_place_for_every_chunk(stop):
    without = [tokens for tokens, *_ in whole(streamed())]
    results = [whole(streamed(stop=stop, chunk=chunk)) for chunk in (1, 3, 4, MOST)]
    assert any(over == "stop" for *_, over in results[0])
    for result in results:
        for row, full in enumerate(without):
            (tokens, text, log_probability, over), expected = result[row], cut(full, stop)
            assert (tokens, text) == expected[:2]
            assert over == (expected[2] or results[0][row][3])
            np.testing.assert_allclose(log_probability, results[0][row][2], rtol=1e-5)


def test_what_may_become_a_stop_string_or_a_character_is_held_back():
    tokens = jnp.array([[1, 2, 4, 5, 1, 6, 1, 2, 6, 1, 0, 0]] * 4)

    def forced(so_far, lengths, logits):
        return jnp.where(jnp.arange(7) == tokens[jnp.arange(4), lengths][:, None], logits, -jnp.inf)

    def texts(*stop):
        return [chunk[0].text for chunk in streamed(constrain=forced, chunk=1, stop=stop)]

    assert texts() == ["a", "b", "", "é", "a", "c", "a", "b", "c", "a", ""]
    assert texts("abca") == ["", "", "", "abé", "", "ac", "", "", "", ""]
    assert texts("abcab", "ca") == ["", "", "", "abé", "", "a", ""]
    assert texts("abcab") == ["", "", "", "abé", "", "ac", "", "", "", "", "abca"]


def test_a_row_that_stopped_is_not_advanced_over():
    lengths_given = []

    def counting(state, tokens, lengths):
        jax.debug.callback(lambda given: lengths_given.append(given.tolist()), lengths)
        return TABLE.advance(state, tokens, lengths)

    given = {"decode": decode, "max_new_tokens": MOST, "end": (), "chunk": 2, "stop": ("a",)}
    chunks = list(stream(counting, TABLE.start(4), *padded(PROMPTS), constrain=Only((1, 6)), **given))
    jax.effects_barrier()
    for row, (tokens, *_) in enumerate(whole(chunks)):
        advanced = sum(lengths[row] for lengths in lengths_given[1:])
        assert len(tokens) - 1 <= advanced <= len(tokens)


def test_the_log_probability_counts_the_tokens_that_stay_and_no_others():
    ((tokens, _, log_probability, over), *_) = whole(streamed(stop=("b",), chunk=MOST))
    assert over == "stop"
    expected = sum(TABLE.log_probabilities([*PROMPTS[0], *tokens[:place]])[token] for place, token in enumerate(tokens))
    np.testing.assert_allclose(log_probability, expected, rtol=1e-5)


def test_a_row_without_a_possible_token_says_so():
    def until_three(tokens, lengths, logits):
        return jnp.where((lengths == 3)[:, None], -jnp.inf, logits)

    for tokens, text, log_probability, over in whole(streamed(constrain=until_three, end=(), chunk=2)):
        assert (len(tokens), text, over) == (3, decode(tokens), "nothing")
        assert log_probability == -np.inf


def with_memory(table, state, tokens, lengths):
    logits, after = Table(table).advance(state, tokens, lengths)
    return logits, {**after, "memory": state["memory"]}


def test_arrays_come_as_arguments_and_nothing_is_compiled_twice_nor_taken_from_the_caller():
    state = {**TABLE.start(4), "memory": jnp.ones((4, 3))}
    given = {"decode": decode, "max_new_tokens": MOST, "chunk": 3, **SAMPLING}
    before = _proceed._cache_size()
    for factor in (1.0, 2.0):
        logits = jnp.asarray(TABLE.logits) * factor
        advance = Partial(with_memory, logits)
        chunks = list(stream(advance, state, *padded(PROMPTS), constrain=AtLeast(2, end=(0,)), end=(0,), **given))
        assert len(chunks) > 1
    assert _proceed._cache_size() == before + 1
    assert state["memory"].sum() == 12
    assert logits[0].shape == (7,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk": 0}, "chunk=0: give at least 1 token"),
        ({"stop": ("a", "")}, "the empty string is in every text"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"rng": None}, "temperature=1.2 draws tokens: give rng"),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_piece(options, message):
    given = {"decode": decode, "max_new_tokens": MOST, "end": (0,), **SAMPLING, **options}
    with pytest.raises(Refused, match=message):
        stream(function, TABLE.start(4), *padded(PROMPTS), **given)
