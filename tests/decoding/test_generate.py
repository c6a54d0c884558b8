"""Greedy decoding and sampling: what comes out, that rows are apart, and that the loop ends as soon as it can."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.base.errors import Refused
from attention_jax.decoding import AtLeast, Generated, Only, Sampling, Together, generate
from tests.decoding import plain
from tests.decoding.language_models import Table, padded

TABLE = Table.drawn(3, 7)
PROMPTS = [[1], [2, 3, 4, 1], [5, 5], [1, 2, 3]]
DRAWS = Sampling(temperature=1.5, top_k=5, top_p=0.9, min_p=0.02, repetition_penalty=1.3)
KEY = jax.random.key(3)


@functools.partial(jax.jit, static_argnames=("table", "max_new_tokens", "end", "sampling", "constrain", "pad"))
def compiled(prompt, lengths, *, table=TABLE, **arguments):
    return generate(table.advance, table.start(prompt.shape[0]), prompt, lengths, **arguments)


def run(prompts=PROMPTS, *, table=TABLE, max_new_tokens=12, end=(0,), pad=6, **arguments):
    made = compiled(*padded(prompts), table=table, max_new_tokens=max_new_tokens, end=end, pad=pad, **arguments)
    return jax.tree.map(np.asarray, made)


def rows_of(made):
    return [made.tokens[row, :length].tolist() for row, length in enumerate(made.lengths)]


def test_greedy_is_the_plain_loop_for_prompts_of_unequal_length():
    made = run()
    for row, prompt in enumerate(PROMPTS):
        tokens, values = plain.greedy(TABLE.log_probabilities, prompt, most=12, end=(0,))
        assert rows_of(made)[row] == tokens
        np.testing.assert_allclose(made.log_probabilities[row, : len(tokens)], values, rtol=1e-5)
        assert made.ended[row] == (tokens[-1] == 0)
    assert set(made.ended.tolist()) == {True, False}


def test_a_row_that_has_ended_emits_padding_and_its_log_probability_stays():
    made = run()
    for row, length in enumerate(made.lengths):
        assert (made.tokens[row, length:] == 6).all()
        assert (made.log_probabilities[row, length:] == 0).all()
    np.testing.assert_allclose(made.log_probability, made.log_probabilities.sum(-1))


def test_any_of_several_end_tokens_ends_and_none_goes_on_to_the_last_token():
    one, several, none = (run(end=end) for end in ((0,), (0, 2, 4), ()))
    for row in range(len(PROMPTS)):
        tokens, _ = plain.greedy(TABLE.log_probabilities, PROMPTS[row], most=12, end=(0, 2, 4))
        assert rows_of(several)[row] == tokens
    assert (several.lengths < one.lengths).any()
    assert none.lengths.tolist() == [12] * 4
    assert not none.ended.any()


def test_a_row_does_not_depend_on_the_other_rows_nor_on_its_padding():
    numbers = [7, 1, 4, 2]
    together = run(sampling=DRAWS, rng=KEY, rows=jnp.array(numbers))
    for row, number in enumerate(numbers):
        prompt = np.array([PROMPTS[row] + [5] * (6 - len(PROMPTS[row]))])
        length, number = np.array([len(PROMPTS[row])]), jnp.array([number])
        alone = compiled(prompt, length, max_new_tokens=12, end=(0,), pad=6, sampling=DRAWS, rng=KEY, rows=number)
        for whole, part in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_array_equal(whole[row], part[0])


def test_draws_depend_on_the_key_and_on_the_number_of_the_row():
    prompts = [[1]] * 4
    first, again = (run(prompts, sampling=Sampling(), rng=KEY, end=()) for _ in range(2))
    other = run(prompts, sampling=Sampling(), rng=jax.random.key(4), end=())
    np.testing.assert_array_equal(first.tokens, again.tokens)
    assert len({tuple(row) for row in [*first.tokens.tolist(), *other.tokens.tolist()]}) == 8


def test_the_first_tokens_are_drawn_as_often_as_the_distribution_says():
    count = 4000
    table = Table(np.tile(np.log(np.array([0.5, 0.3, 0.15, 0.05], "f4")), (9973, 1)))
    made = run([[1]] * count, table=table, max_new_tokens=1, end=(), sampling=Sampling(temperature=0.5), rng=KEY, pad=0)
    expected = np.array([0.25, 0.09, 0.0225, 0.0025]) / 0.365
    drawn = np.bincount(made.tokens[:, 0], minlength=4) / count
    assert (np.abs(drawn - expected) < 4 * np.sqrt(expected * (1 - expected) / count)).all()
    np.testing.assert_allclose(made.log_probability, np.log([0.5, 0.3, 0.15, 0.05])[made.tokens[:, 0]], rtol=1e-5)


def test_sampling_with_top_k_of_one_is_greedy():
    drawn = run(sampling=Sampling(top_k=1), rng=KEY)
    np.testing.assert_array_equal(drawn.tokens, run().tokens)


def test_the_penalty_counts_tokens_of_prompt_and_continuation_and_not_the_padding():
    sampling = Sampling(temperature=0, repetition_penalty=1.8)
    made = run(sampling=sampling, end=())
    for row, prompt in enumerate(PROMPTS):
        tokens = []
        for _ in range(12):
            logits = TABLE.after([*prompt, *tokens]).copy()
            for seen in {*prompt, *tokens}:
                logits[seen] = logits[seen] / 1.8 if logits[seen] > 0 else logits[seen] * 1.8
            tokens.append(int(logits.argmax()))
        assert rows_of(made)[row] == tokens
    assert (made.tokens != run(end=()).tokens).any()


def test_a_constraint_sees_the_tokens_so_far_and_decides_what_may_come_next():
    def none_twice_in_a_row(tokens, lengths, logits):
        last = jnp.take_along_axis(tokens, jnp.maximum(lengths - 1, 0)[:, None], axis=1)
        return jnp.where((jnp.arange(logits.shape[1]) == last) & (lengths[:, None] > 0), -jnp.inf, logits)

    made = run(constrain=Together((Only((1, 2)), none_twice_in_a_row)), end=())
    assert set(made.tokens.ravel().tolist()) == {1, 2}
    assert (made.tokens[:, 1:] != made.tokens[:, :-1]).all()
    # The log-probability is the model's own, and not of what was left.
    expected = TABLE.log_probabilities(PROMPTS[0])[made.tokens[0, 0]]
    np.testing.assert_allclose(made.log_probabilities[0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("length", [0, 1, 5, 12])
def test_a_minimum_length_counts_the_end_token(length):
    ends_at_once = Table(np.tile(np.array([9, 1, 2, 0], "f4"), (9973, 1)))
    made = run(table=ends_at_once, constrain=AtLeast(length, end=(0,)))
    assert made.lengths.tolist() == [max(length, 1)] * 4
    assert made.ended.all()


def test_a_row_without_a_possible_token_is_over_and_says_so():
    def until_three(tokens, lengths, logits):
        return jnp.where((lengths == 3)[:, None], -jnp.inf, logits)

    made = run(constrain=until_three, end=())
    assert made.lengths.tolist() == [3] * 4
    assert (made.log_probabilities[:, 3] == -np.inf).all()
    assert (made.log_probability == -np.inf).all()
    assert not made.ended.any()
    assert (made.tokens[:, 3:] == 6).all()


def test_logits_that_are_nan_end_the_row_with_a_log_probability_of_nan():
    broken = Table(TABLE.logits.copy())
    broken.logits[0 * 8 + 2] = np.nan  # After the prompt [1].
    made = run(table=broken, sampling=DRAWS, rng=KEY)
    assert made.lengths[0] == 0
    assert np.isnan(made.log_probability[0])
    assert np.isfinite(made.log_probability[1:]).all()


def test_the_loop_is_over_with_the_last_row():
    steps = []

    def counting(state, tokens, lengths):
        jax.debug.callback(lambda given: steps.append(given.tolist()), lengths)
        return TABLE.advance(state, tokens, lengths)

    prompt, lengths = padded(PROMPTS[:3])
    made = generate(counting, TABLE.start(3), prompt, lengths, max_new_tokens=500, end=(0, 2, 4))
    jax.effects_barrier()
    assert len(steps) == made.lengths.max() < 20
    # A row that is over takes no more tokens.
    assert steps[0] == lengths.tolist()
    for step, given in enumerate(steps[1:], start=1):
        assert given == (made.lengths > step).astype(int).tolist()


def test_a_constraint_that_gives_nan_ends_the_row_with_nan():
    def broken(tokens, lengths, logits):
        return logits.at[2, 3].set(jnp.nan)

    for sampling in (Sampling(temperature=0), DRAWS):
        made = run(constrain=broken, sampling=sampling, rng=KEY)
        assert made.lengths[2] == 0
        assert np.isnan(made.log_probability).tolist() == [False, False, True, False]


@pytest.mark.parametrize("moves", [False, True])
def test_the_loop_copies_no_array_of_the_state_that_is_written_in_place(moves):
    """With a state whose arrays change places at each step as the control: that they are copied is seen."""

    def advance(state, tokens, lengths):
        first, second = state["caches"][::-1] if moves else state["caches"]
        new = jnp.broadcast_to(tokens[:, :1, None].astype(jnp.float32), (4, 1, 8))
        first = jax.lax.dynamic_update_slice(first, new, (0, state["length"][0], 0))
        logits = first.sum(1) + second.sum(1)
        return logits, {"caches": (first, second), "length": state["length"] + lengths}

    def program(state):
        return generate(advance, state, jnp.ones((4, 1), jnp.int32), jnp.ones(4, int), max_new_tokens=99, end=(0,))

    state = {"caches": (jnp.zeros((4, 2048, 8)),) * 2, "length": jnp.zeros(4, jnp.int32)}
    text = jax.jit(program).lower(state).compile().as_text()
    (loop,) = [line for line in text.splitlines() if " while(" in line and "f32[4,2048,8]" in line]
    body = loop.split("body=")[1].split(",")[0]
    operations = text.split(f"{body} (")[1].split("\n}")[0]
    assert ("f32[4,2048,8]{2,1,0} copy(" in operations) == moves


BAD = {
    "max_new_tokens=0": dict(max_new_tokens=0),
    "pad=-1": dict(pad=-1),
    r"prompt_lengths have shape \(2,\)": dict(prompt_lengths=np.array([1, 1])),
    r"prompt_lengths=\[1, 0, 2, 3\] are of prompts of 4 tokens: give 1 to 4": dict(
        prompt_lengths=np.array([1, 0, 2, 3])
    ),
    r"prompt_lengths=\[1, 5, 2, 3\]": dict(prompt_lengths=np.array([1, 5, 2, 3])),
    "the tokens of a prompt are float32": dict(prompt=np.ones((4, 4), "f4")),
    r"prompt has shape \(4,\)": dict(prompt=np.ones(4, int)),
    r"prompt has shape \(4, 0\)": dict(prompt=np.ones((4, 0), int)),
    r"state\['node'\] has shape \(3, 1\) beside 4 prompts": dict(state=TABLE.start(3)),
    r"end=\(0, 7\) names token 7, but the logits are of 7 tokens": dict(end=(0, 7)),
    "temperature=1.0 draws tokens: give rng": dict(sampling=Sampling()),
    r"rows have shape \(3,\)": dict(rows=jnp.arange(3)),
    r"advance returned logits of shape \(4, 1, 7\)": dict(
        advance=lambda *given: (TABLE.advance(*given)[0][:, None], given[0])
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_what_cannot_be_is_refused_in_one_line(message):
    prompt, lengths = padded(PROMPTS)
    given = dict(advance=TABLE.advance, state=TABLE.start(4), prompt=prompt, prompt_lengths=lengths)
    with pytest.raises(Refused, match=message) as refused:
        generate(**{**given, "max_new_tokens": 3, "end": (0,), **BAD[message]})
    assert "\n" not in str(refused.value)


def test_what_comes_out_is_a_pytree_of_documented_types():
    made = run()
    assert isinstance(made, Generated)
    assert [leaf.dtype.name for leaf in jax.tree.leaves(made)] == ["int32", "int32", "float32", "bool"]
