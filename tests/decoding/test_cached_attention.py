"""Decoding with a cache of keys and values gives what a pass over the whole sequence at each step gives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.decoding import beam_search, generate
from attention_jax.kernels import Causal, KeyValueCache, Sizes, attend, attend_cached
from tests.decoding import plain
from tests.decoding.language_models import padded

LAYERS, HEADS, WIDTH, VOCABULARY, CAPACITY, MOST = 2, 2, 16, 11, 24, 12
SIZES = Sizes(heads=HEADS, kv_heads=HEADS, query=WIDTH // HEADS, key=WIDTH // HEADS, value=WIDTH // HEADS)
PROMPTS = [[3], [4, 5, 6, 7, 1], [1, 2], [9, 9, 8]]


def drawn(seed):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape) / np.sqrt(shape[0]), jnp.float32)

    return {
        "tokens": normal(VOCABULARY, WIDTH) * 3,
        "positions": normal(CAPACITY, WIDTH) * 3,
        "layers": [
            {name: normal(WIDTH, WIDTH) * 2 for name in ("query", "key", "value", "out")} for _ in range(LAYERS)
        ],
        "logits": normal(WIDTH, VOCABULARY) * 3,
    }


WEIGHTS = drawn(5)


def model(tokens, positions, attended):
    """Returns logits [B, T, V]; `attended(layer, query, key, value)` is the attention of a layer, heads apart."""
    x = WEIGHTS["tokens"][tokens] + WEIGHTS["positions"][positions]
    for layer, of in enumerate(WEIGHTS["layers"]):
        arrays = [(x @ of[name]).reshape(*tokens.shape, HEADS, -1) for name in ("query", "key", "value")]
        x = x + jnp.tanh(attended(layer, *arrays).reshape(x.shape) @ of["out"])
    return x @ WEIGHTS["logits"]


def advance(state, tokens, lengths):
    after = list(state)

    def attended(layer, query, key, value):
        result, after[layer] = attend_cached(query, key, value, state[layer], mask=Causal(), new_lengths=lengths)
        return result.out

    positions = state[0].length[:, None] + jnp.arange(tokens.shape[1])
    logits = model(tokens, jnp.minimum(positions, CAPACITY - 1), attended)
    last = jnp.maximum(lengths - 1, 0)[:, None, None]
    return jnp.take_along_axis(logits, last, axis=1)[:, 0], after


@functools.cache
def whole_pass(tokens):
    """Returns the log-probabilities [V] after these tokens, computed from all of them at once."""
    row = jnp.asarray([tokens + (0,) * (CAPACITY - len(tokens))])
    return np.asarray(_whole(row)[0, len(tokens) - 1], np.float64)


@jax.jit
def _whole(row):
    def attended(layer, query, key, value):
        return attend(query, key, value, mask=Causal()).out

    return jax.nn.log_softmax(model(row, jnp.arange(CAPACITY)[None], attended))


def empty():
    return [KeyValueCache.empty(SIZES, batch=len(PROMPTS), capacity=CAPACITY) for _ in range(LAYERS)]


def test_greedy_decoding_with_the_cache_is_that_of_whole_passes():
    made = jax.jit(lambda state: generate(advance, state, *padded(PROMPTS), max_new_tokens=MOST, end=(0, 3)))(empty())
    for row, prompt in enumerate(PROMPTS):
        tokens, values = plain.greedy(lambda so_far: whole_pass(tuple(so_far)), prompt, most=MOST, end=(0, 3))
        assert made.tokens[row, : made.lengths[row]].tolist() == tokens
        np.testing.assert_allclose(made.log_probabilities[row, : len(tokens)], values, atol=1e-4)
    assert set(made.ended.tolist()) == {True, False}


def test_beam_search_with_the_cache_is_that_of_whole_passes():
    options = dict(beams=3, end=(0, 3), alpha=0.6, best=2)
    made = jax.jit(lambda state: beam_search(advance, state, *padded(PROMPTS), max_new_tokens=MOST, **options))(empty())
    for row, prompt in enumerate(PROMPTS):
        expected = plain.beam_search(lambda so_far: whole_pass(tuple(so_far)), prompt, most=MOST, **options)
        found = [tokens[:length].tolist() for tokens, length in zip(made.tokens[row], made.lengths[row], strict=True)]
        assert found == [tokens for _, tokens in expected]
        np.testing.assert_allclose(made.scores[row], [score for score, _ in expected], atol=1e-4)


def test_a_prompt_and_tokens_that_the_cache_cannot_hold_end_the_row_with_nan():
    most = CAPACITY - 5 + 2
    made = jax.jit(lambda state: generate(advance, state, *padded(PROMPTS), max_new_tokens=most, end=()))(empty())
    # The row with 5 tokens of prompt has room for all but the last of the new ones.
    assert made.lengths.tolist() == [most, most - 1, most, most]
    assert np.isnan(made.log_probability).tolist() == [False, True, False, False]
