"""What the contract cannot see of normalisers of rows: gradients in their own arrays, remainders, draws, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import doubled, error, make, run
from attention_jax.contract.mask_cases import MASKS
from attention_jax.kernels import Causal, Refused, attend, lookup


def test_entmax_has_the_gradient_of_differences_in_queries_and_in_alpha():
    with jax.enable_x64(True):
        inputs = doubled(make("entmax", batch=1, queries=4))

        def total(query, alpha):
            case = inputs._replace(query=query, params={"alpha": alpha})
            return (run("entmax", case, mask=Causal(), engine="dense").out ** 2).sum()

        point = (inputs.query, inputs.params["alpha"])
        found = jax.grad(total, argnums=(0, 1))(*point)
        for side, step in ((0, jnp.cos(jnp.arange(point[0].size)).reshape(point[0].shape)), (1, jnp.arange(1.0, 5))):
            ends = [total(*(a + s * 1e-6 * step if k == side else a for k, a in enumerate(point))) for s in (1, -1)]
            np.testing.assert_allclose((found[side] * step).sum(), (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("spec", ["stick_breaking", "stick_breaking:own=True"])
def test_what_is_broken_off_a_stick_and_what_remains_are_the_whole(spec):
    result = run(spec, make(spec), mask=Causal(), outputs=("weights", "aux"))
    np.testing.assert_allclose(result.weights.sum(-1) + result.aux["remainder"], 1, rtol=1e-6)
    itself = np.asarray(result.weights)[..., np.arange(7), np.arange(7)]
    assert (itself > 0).all() if "own" in spec else (itself == 0).all()


def test_concat_is_additive_with_its_weight_split():
    inputs = make("concat:hidden=3")
    weight = inputs.params["weight"]
    split = {"query": weight[:, :8], "key": weight[:, 8:], "value": inputs.params["value"]}
    ours, other = run("concat:hidden=3", inputs).out, run("additive:hidden=3", inputs._replace(params=split)).out
    assert error(ours, other) < 1e-6


def test_a_pointer_gives_its_distribution_and_its_logits():
    result = run("pointer:hidden=3", make("pointer:hidden=3"), mask=MASKS["causal"].mask, outputs=("logits", "weights"))
    np.testing.assert_allclose(result.weights.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(jax.nn.softmax(result.logits), result.weights, atol=1e-6)


@pytest.mark.parametrize("spec", ["softcap:cap=0.0", "gumbel:tau=0.0", "cope:positions=1", "concat:hidden=0"])
def test_options_that_make_no_sense_are_refused_in_one_line(spec):
    with pytest.raises(Refused, match=spec.partition(":")[2].replace(".", r"\.")) as refusal:
        lookup(spec)
    assert "\n" not in str(refusal.value)


def drawn(query, inputs, key, spec, **arguments):
    return attend(query, *inputs[1:3], variant=spec, rng=key, **arguments)


def losses(out):
    return (out - 0.3) ** 2


def test_reinforce_has_the_gradient_of_the_exact_expectation():
    """Of the mean loss over all keys, by enumeration, against the mean over draws: within 4 standard errors."""
    inputs = make("hard", batch=1, queries=5, keys=5, heads=2, kv_heads=1, width=4, value_width=1)

    def exact(query):
        weights = attend(query, *inputs[1:3], variant="scaled_dot", outputs=("weights",)).weights
        return (weights * losses(inputs.value[0, :, 0, 0])).sum()

    def surrogate(query, key):
        result = drawn(query, inputs, key, "hard", outputs=("out", "aux"))
        loss = losses(result.out[..., 0].swapaxes(1, 2))
        return (jax.lax.stop_gradient(loss) * result.aux["log_probability"]).sum(), loss.sum()

    keys = jax.random.split(jax.random.key(0), 4000)
    gradients, loss = jax.jit(jax.vmap(jax.grad(surrogate, has_aux=True), (None, 0)))(inputs.query, keys)
    error_of = gradients.std(0) / len(keys) ** 0.5
    assert (np.abs(gradients.mean(0) - jax.grad(exact)(inputs.query)) < 4.5 * error_of + 1e-6).all()
    assert abs(loss.mean() - exact(inputs.query)) < 4 * loss.std() / len(keys) ** 0.5


def test_hard_reports_the_probability_and_the_entropy_of_its_softmax():
    inputs = make("hard")
    result = drawn(inputs.query, inputs, jax.random.key(1), "hard", mask=Causal(), outputs=("weights", "aux"))
    soft = np.asarray(attend(*inputs[:3], mask=Causal(), outputs=("weights",)).weights, np.float64)
    taken = (soft * np.asarray(result.weights)).sum(-1)
    np.testing.assert_allclose(result.aux["log_probability"], np.log(taken), atol=1e-5)
    some = np.where(soft > 0, soft, 1)
    np.testing.assert_allclose(result.aux["entropy"], -(some * np.log(some)).sum(-1), atol=1e-5)


def test_a_hard_gumbel_is_one_key_with_the_derivative_of_the_soft_one():
    inputs, key = make("gumbel"), jax.random.key(2)

    def total(query, spec):
        return jnp.sin(drawn(query, inputs, key, spec, mask=Causal(), outputs=("weights",)).weights).sum()

    hard = drawn(inputs.query, inputs, key, "gumbel:tau=0.5,hard=True", mask=Causal(), outputs=("weights",)).weights
    assert set(np.unique(np.round(hard, 6))) == {0.0, 1.0}
    cold = drawn(inputs.query, inputs, key, "gumbel:tau=0.001", mask=Causal(), outputs=("weights",)).weights
    np.testing.assert_allclose(cold, hard, atol=1e-3)
    assert np.abs(jax.grad(total)(inputs.query, "gumbel:tau=0.5,hard=True")).max() > 1e-3


def test_draws_of_keys_are_those_of_their_place():
    inputs, key = make("hard"), jax.random.key(3)
    whole = drawn(inputs.query, inputs, key, "hard", mask=Causal()).out
    positions = (jnp.arange(4, 7)[None], jnp.arange(7)[None])
    last = drawn(inputs.query[:, 4:], inputs, key, "hard", mask=Causal(), positions=positions).out
    np.testing.assert_allclose(last, whole[:, 4:], rtol=1e-6)
    assert (np.asarray(whole) != np.asarray(run("hard", inputs, mask=Causal()).out)).any()
