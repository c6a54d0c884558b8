"""Beam search against all continuations there are, against a search in plain Python, and against greedy decoding."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.base.errors import Refused
from attention_jax.decoding import AtLeast, Only, beam_search, generate, length_penalty
from attention_jax.kernels.steps import Fixed
from tests.decoding import plain
from tests.decoding.language_models import Table, padded

PROMPTS = [[1], [2, 3, 3, 1], [3, 2], [1, 2, 3]]
TABLE = Table.drawn(1, 4, spread=1.0)


@functools.partial(
    jax.jit, static_argnames=("table", "beams", "max_new_tokens", "end", "best", "alpha", "constrain", "pad")
)
def compiled(prompt, lengths, *, table, **arguments):
    return beam_search(table.advance, table.start(prompt.shape[0]), prompt, lengths, **arguments)


def run(prompts=PROMPTS, *, table=TABLE, end=(0,), pad=3, **arguments):
    return jax.tree.map(np.asarray, compiled(*padded(prompts), table=table, end=end, pad=pad, **arguments))


def listed(made, row):
    """Returns the hypotheses of a row as (score, tokens)."""
    lists = [tokens[:length].tolist() for tokens, length in zip(made.tokens[row], made.lengths[row], strict=True)]
    return [one for one in zip(made.scores[row].tolist(), lists, strict=True) if one[0] > -np.inf]


def same(found, expected):
    assert [tokens for _, tokens in found] == [tokens for _, tokens in expected]
    np.testing.assert_allclose([score for score, _ in found], [score for score, _ in expected], rtol=1e-5)


@pytest.mark.parametrize(("end", "alpha"), [((0,), 0.0), ((0,), 2.0), ((0, 2), 0.6), ((), 0.6)])
def test_a_beam_wide_enough_finds_the_best_of_all_continuations(end, alpha):
    made = run(beams=4**4, max_new_tokens=4, best=7, end=end, alpha=alpha)
    for row, prompt in enumerate(PROMPTS):
        expected = plain.exhaustive(TABLE.log_probabilities, prompt, vocabulary=4, most=4, end=end, alpha=alpha, best=7)
        same(listed(made, row), expected)


@pytest.mark.parametrize(
    ("beams", "best", "end", "alpha"),
    [(1, 1, (0,), 1.0), (2, 1, (0,), 0.0), (2, 2, (0, 2), 1.0), (3, 1, (0, 2), 0.6), (3, 3, (0,), 0.6)],
)
def test_a_narrow_beam_is_the_search_in_plain_python(beams, best, end, alpha):
    made = run(beams=beams, max_new_tokens=8, best=best, end=end, alpha=alpha)
    for row, prompt in enumerate(PROMPTS):
        expected = plain.beam_search(
            TABLE.log_probabilities, prompt, beams=beams, most=8, end=end, alpha=alpha, best=best
        )
        same(listed(made, row), expected)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_of_equal_hypotheses_the_first_counts(alpha):
    """Log-probabilities lowered to whole numbers add up exactly, and many sums are equal."""
    made = run(beams=6, max_new_tokens=7, best=6, alpha=alpha, constrain=lowered)

    def lowered_too(tokens):
        return np.floor(TABLE.log_probabilities(tokens))

    for row, prompt in enumerate(PROMPTS):
        expected = plain.beam_search(
            lowered_too, prompt, beams=6, most=7, end=(0,), alpha=alpha, best=6, number=np.float32
        )
        same(listed(made, row), expected)
        assert alpha or len({score for score, _ in expected}) < len(expected)


def lowered(tokens, lengths, log_probabilities):
    return jnp.floor(log_probabilities)


def test_one_beam_without_length_penalty_is_greedy():
    table = Table.drawn(3, 7)
    prompts = [[1], [2, 3, 4, 1], [5, 5], [1, 2, 3]]
    made = run(prompts, table=table, beams=1, max_new_tokens=12, pad=6)
    greedy = generate(table.advance, table.start(4), *padded(prompts), max_new_tokens=12, end=(0,), pad=6)
    np.testing.assert_array_equal(made.tokens[:, 0], greedy.tokens)
    np.testing.assert_array_equal(made.lengths[:, 0], greedy.lengths)
    np.testing.assert_array_equal(made.ended[:, 0], greedy.ended)
    np.testing.assert_allclose(made.log_probability[:, 0], greedy.log_probability, rtol=1e-5)


def test_a_row_does_not_depend_on_the_other_rows():
    options = dict(beams=3, max_new_tokens=8, best=2, alpha=0.6)
    together = run(**options)
    for row, prompt in enumerate(PROMPTS):
        row_alone, length = np.array([prompt + [2] * (5 - len(prompt))]), np.array([len(prompt)])
        alone = compiled(row_alone, length, table=TABLE, end=(0,), pad=3, **options)
        for whole, part in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_array_equal(whole[row], part[0])


def test_scores_are_the_log_probability_over_the_penalty_and_tokens_are_padded():
    made = run(beams=3, max_new_tokens=8, best=3, alpha=0.6)
    np.testing.assert_allclose(made.scores, made.log_probability / ((5 + made.lengths) / 6) ** 0.6, rtol=1e-6)
    after = np.arange(8) >= made.lengths[..., None]
    assert (made.tokens[after] == 3).all()
    last = np.take_along_axis(made.tokens, made.lengths[..., None] - 1, axis=2)[..., 0]
    np.testing.assert_array_equal(made.ended, last == 0)
    assert float(length_penalty(1, 0.7)) == 1.0


def test_the_search_stops_as_soon_as_no_live_hypothesis_can_win():
    steps = []

    def counting(state, tokens, lengths):
        jax.debug.callback(lambda given: steps.append(given.tolist()), lengths)
        return TABLE.advance(state, tokens, lengths)

    made = beam_search(
        counting, TABLE.start(4), *padded(PROMPTS), beams=3, max_new_tokens=300, end=(0,), best=2, alpha=0.0
    )
    jax.effects_barrier()
    assert len(steps) < 40
    assert len(steps) >= made.lengths.max()
    # A row that is over takes no more tokens.
    going = [np.reshape(given, (4, 3)).any(1) for given in steps[1:]]
    assert not all(rows.all() for rows in going)
    assert all((later <= earlier).all() for earlier, later in itertools.pairwise(going))


def test_constraints_hold_in_every_hypothesis():
    constrain = AtLeast(4, end=(0,))
    made = run(beams=3, max_new_tokens=6, best=3, constrain=constrain)
    assert (made.lengths >= 4).all()
    only = run(beams=3, max_new_tokens=6, best=3, constrain=Only((1, 2)))
    assert set(only.tokens.ravel().tolist()) == {1, 2}
    for row, prompt in enumerate(PROMPTS):
        for score, tokens in listed(only, row):
            total = sum(TABLE.log_probabilities([*prompt, *tokens[:at]])[token] for at, token in enumerate(tokens))
            np.testing.assert_allclose(score, total, rtol=1e-5)


def test_where_less_is_possible_there_are_fewer_hypotheses():
    made = run(beams=4, max_new_tokens=3, best=4, constrain=Only((0, 1)))
    for row in range(len(PROMPTS)):
        assert sorted(tokens for _, tokens in listed(made, row)) == [[0], [1, 0], [1, 1, 0], [1, 1, 1]]
    none = run(beams=2, max_new_tokens=3, best=2, constrain=nothing)
    assert (none.scores == -np.inf).all()
    assert (none.lengths == 0).all()
    assert (none.tokens == 3).all()


def nothing(tokens, lengths, logits):
    return jnp.full_like(logits, -jnp.inf)


def test_logits_that_are_nan_give_scores_of_nan_in_their_row_alone():
    broken = Table(TABLE.logits.copy())
    broken.logits[2] = np.nan  # After the prompt [1].
    made = run(table=broken, beams=2, max_new_tokens=5, best=2)
    assert np.isnan(made.scores[0, 0])
    same(listed(made, 1), listed(run(beams=2, max_new_tokens=5, best=2), 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beams": 0}, "beams=0: give at least 1"),
        ({"beams": 2, "best": 3}, "best=3 of beams=2: give 1 to 2, or more beams"),
        ({"beams": 2, "best": 0}, "best=0 of beams=2"),
        ({"beams": 2, "alpha": -1.0}, "alpha=-1.0: give 0 .no length penalty. or more"),
        ({"beams": 2, "alpha": float("nan")}, "alpha=nan"),
        ({"beams": 2, "max_new_tokens": 0}, "max_new_tokens=0: give at least 1"),
        ({"beams": 2, "end": (4,)}, r"end=\(4,\) names token 4, but the logits are of 4 tokens"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    given = {"max_new_tokens": 3, "end": (0,), **options}
    with pytest.raises(Refused, match=message):
        beam_search(TABLE.advance, TABLE.start(4), *padded(PROMPTS), **given)


def test_what_is_fixed_has_one_row_for_all_beams_of_a_prompt():
    offsets = jnp.asarray(np.random.default_rng(2).normal(size=(4, 4)), jnp.float32)
    rows = {}

    def advance(state, tokens, lengths):
        held = state["held"]
        held = held.held if isinstance(held, Fixed) else held
        rows.setdefault(type(state["held"]), []).append(len(held))
        logits, node = TABLE.advance(state["node"], tokens, lengths)
        return logits + jnp.repeat(held, len(tokens) // len(held), axis=0), {**state, "node": node}

    @jax.jit
    def searched(held):
        state = {"node": TABLE.start(4), "held": held}
        return beam_search(advance, state, *padded(PROMPTS), beams=3, max_new_tokens=6, end=(0,), alpha=0.6, best=2)

    for ours, theirs in zip(*(jax.tree.leaves(searched(held)) for held in (Fixed(offsets), offsets)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    of_fixed, of_others = (set(found) for found in rows.values())
    assert (of_fixed, of_others) == ({4}, {4, 12})
