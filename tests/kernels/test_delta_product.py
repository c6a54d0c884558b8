"""DeltaProduct: its steps are those of the delta rule, over chunks, segments and states, and turn what one cannot."""

import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, ROUNDING, error, make, run, run_compiled
from attention_jax.kernels import Causal, Padding, Refused, Segments, attend
from tests.oracle.equations import equation
from tests.oracle.loops import oracle

SPEC, TOKENS = "delta_product:steps=3", 50
MASK = Causal() & Padding(np.array([TOKENS, 41])) & Segments(np.repeat([[4, 1, 2]], [20, 27, 3], axis=1))


def seen():
    ids, real = np.repeat([4, 1, 2], [20, 27, 3]), np.arange(TOKENS) < np.array([[TOKENS], [41]])
    pairs = np.tri(TOKENS, dtype=bool) & (ids[:, None] == ids) & real[:, None]
    return np.broadcast_to(pairs[:, None], (2, 4, TOKENS, TOKENS))


def test_over_chunks_padding_and_segments_it_is_the_equation_of_the_paper():
    inputs = make(SPEC, queries=TOKENS)
    expected = oracle(equation(SPEC), *inputs, visible=seen()).out
    assert error(run_compiled(SPEC, inputs, mask=MASK).out, expected) < 2 * ROUNDING


def test_it_goes_on_from_the_state_that_it_left():
    inputs = make(SPEC, queries=TOKENS)
    whole = run_compiled(SPEC, inputs, mask=Causal()).out
    first, rest = (inputs.with_tokens(lambda array, s=s: array[:, s]) for s in (slice(0, 23), slice(23, None)))
    state = run_compiled(SPEC, first, mask=Causal(), outputs=("out", "state")).state
    assert error(run_compiled(SPEC, rest, mask=Causal(), state=state).out, whole[:, 23:]) < AGREEMENT


def orbit(spec, **per_token):
    """What one head of width 2 reads after each of 12 equal tokens that write nothing, from a first one that writes."""
    key = jnp.tile(jnp.array([1.0, 0.0]), (1, 13, 1, 1))
    value = jnp.zeros((1, 13, 1, 1)).at[:, 0].set(1)
    per_token = {name: jnp.asarray(array, jnp.float32) for name, array in per_token.items()}
    out = attend(key, key, value, variant=spec, per_token=per_token, mask=Causal()).out
    return np.asarray(out)[0, 1:, 0, 0] * 2**0.5


def test_two_steps_a_token_count_modulo_3_in_one_head_where_one_step_counts_modulo_2_at_most():
    strong = np.full((1, 13, 1, 2), 40.0)
    # The first token writes once, at a strength of 1, and does nothing else.
    strong[:, 0] = [0, -40]
    other = np.tile([np.cos(np.pi / 3), np.sin(np.pi / 3)], (1, 13, 1, 1, 1))
    turned = orbit("delta_product", beta=strong, keys=other, values=np.zeros((1, 13, 1, 1, 1)))
    # Two reflections at an angle of 60 degrees turn by 120.
    np.testing.assert_allclose(turned, np.tile([-0.5, -0.5, 1], 4), atol=1e-4)
    alternating = orbit("delta_net:max_beta=2", beta=strong[..., 0])
    np.testing.assert_allclose(alternating, np.tile([-1, 1], 6), atol=1e-4)


@pytest.mark.parametrize(
    ("spec", "arguments", "message"),
    [
        ("delta_product:steps=1", {}, "^delta_product has steps=1: give 2 or more; one step a token is delta_net.$"),
        ("delta_product:max_beta=3.0", {}, "has max_beta=3.0: above 2"),
        ("delta_product", {"positions": np.arange(7)[None]}, "it takes tokens in their order in the array, not by pos"),
        ("delta_product", {"segments": (np.zeros((1, 7), int), np.ones((1, 7), int))}, "one segment id a token"),
    ],
)
def test_what_it_does_not_do_is_refused(spec, arguments, message):
    inputs = make("delta_product") if spec != "delta_product:steps=1" else make("delta_net")
    with pytest.raises(Refused, match=message):
        run(spec, inputs, mask=Causal(), **arguments)
