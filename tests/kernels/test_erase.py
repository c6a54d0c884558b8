"""A recurrence that takes out by other keys than it writes: the delta rule is one; RWKV-7 without it forgets."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, GRADIENT_AGREEMENT, ROUNDING, error, like_output, make, run
from attention_jax.kernels import Causal, LinearRecurrence, Padding, Refused, Segments, lookup
from attention_jax.kernels.checks import checked
from attention_jax.kernels.engines import recurrence
from tests.oracle.equations import equation
from tests.oracle.loops import oracle

TOKENS = 70  # more than a chunk
PAST = np.broadcast_to(np.tri(TOKENS, dtype=bool), (2, 4, TOKENS, TOKENS))


@pytest.mark.parametrize("gate", [0.0, 40.0], ids=["as drawn", "wide open"])
def test_rwkv7_over_several_chunks_is_the_equation_of_the_paper(gate):
    inputs = make("rwkv7", queries=TOKENS)
    inputs = inputs._replace(per_token={name: array + gate for name, array in inputs.per_token.items()})
    expected = oracle(equation("rwkv7"), *inputs, visible=PAST).out
    assert error(run("rwkv7", inputs, mask=Causal()).out, expected) < ROUNDING


def test_rwkv7_that_learns_nothing_in_context_is_a_gated_recurrence():
    inputs = make("rwkv7", queries=TOKENS)
    rate = jnp.full_like(inputs.per_token["rate"], -1e9)
    params = inputs.params | {"replacement": jnp.zeros_like(inputs.params["replacement"])}
    forgetting = inputs._replace(params=params, per_token=inputs.per_token | {"rate": rate})
    decay = np.exp(-np.exp(-0.5) / (1 + np.exp(-np.asarray(inputs.per_token["gate"], np.float64))))
    gate = jnp.asarray(np.log(decay / (1 - decay)), jnp.float32)
    gated = inputs._replace(query=inputs.query * 8**0.5, params={}, per_token={"gate": gate})
    expected = run("gated_linear:temperature=1.0", gated, mask=Causal()).out
    assert error(run("rwkv7", forgetting, mask=Causal()).out, expected) < AGREEMENT


def test_the_delta_rule_written_as_an_erase_is_the_delta_rule_with_its_gradients():
    spec, inputs = "kimi_delta", make("kimi_delta", queries=TOKENS)
    mask = Causal() & Padding(np.array([TOKENS, 50])) & Segments(np.repeat([[0, 1, 2]], [20, 47, 3], axis=1))
    weighing = jnp.asarray(like_output(inputs), jnp.float32)
    rule = lookup(spec).mechanism

    def erased(key, given):
        written = rule.prepare_key(key, given)
        return written, written * rule.strength(given)[..., None]

    as_erase = replace(lookup(spec), mechanism=replace(rule, update="additive", erase=erased))

    def total(inputs, variant):
        problem = checked(*inputs[:3], variant=spec, params=inputs.params, per_token=inputs.per_token, mask=mask)
        return (recurrence.run(replace(problem, variant=variant)).out * weighing).sum()

    @jax.jit
    def both(inputs):
        return [jax.value_and_grad(total)(inputs, variant) for variant in (lookup(spec), as_erase)]

    (value, gradients), (again, gradients_again) = both(inputs)
    np.testing.assert_allclose(value, again, rtol=1e-5)
    for left, right in zip(jax.tree.leaves(gradients), jax.tree.leaves(gradients_again), strict=True):
        assert error(left, right) < 2 * GRADIENT_AGREEMENT


def test_an_erase_beside_the_delta_rule_is_refused():
    with pytest.raises(Refused, match=r"^update='delta' erases by the key that it writes: leave `erase` out"):
        LinearRecurrence(update="delta", erase=lambda key, given: (key, key))
