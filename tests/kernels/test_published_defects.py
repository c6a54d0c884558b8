"""Defects of published attention code, each a regression test named after where it was found.

Others are held elsewhere, by attention_jax/contract and here.
contract/test_masks.py: a row without keys gives mean(V) (jax.nn, tokamax, attnax); NaN in a masked value poisons
the rest (jax.nn); masks are dropped, scores are multiplied by sqrt(H) (Long Range Arena).
contract/test_causality.py: the future leaks through what is chosen by content (reformer-pytorch, routing).
contract/test_claims.py: the future leaks through the stabiliser (performer-pytorch).
contract/test_dropout.py: dropout from a fixed key (Long Range Arena).
contract/test_derivatives.py: no forward mode and no second derivative (tokamax), which the reference engine has.
tests/kernels/test_cudnn.py: a window of the left side alone sees the future (jax.nn by cuDNN).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    AGREEMENT,
    ROUNDING,
    SPECS,
    error,
    make,
    qualified,
    quick_jit,
    run,
    run_compiled,
    same_bits,
    usual_mask,
)
from attention_jax.kernels import Causal, Global, Padding, Refused, Sizes, Window, init
from attention_jax.kernels.dropout import keep_mask
from attention_jax.kernels.mask_algebra import Axis
from attention_jax.kernels.mechanism import Place
from tests.kernels.random_problems import tiles
from tests.oracle.equations import equation
from tests.oracle.loops import oracle

SPLITS = 8
SOFTMAX_ENGINES = ["dense", "blockwise"]


@functools.partial(quick_jit, static_argnames=("engine", "causal"))
def in_splits(inputs, *, engine, causal=False):
    """(out, lse) of all queries to each of eight parts of the keys, float32, [8, ...]."""
    index = jnp.arange(inputs.key.shape[1]).reshape(SPLITS, -1)

    def part(which):
        mine = inputs._replace(key=inputs.key[:, which], value=inputs.value[:, which])
        positions = (jnp.arange(inputs.query.shape[1])[None], which[None])
        mask = Causal() if causal else None
        return run("scaled_dot", mine, engine=engine, mask=mask, positions=positions, outputs=("out", "lse"))

    results = jax.lax.map(part, index)
    return results.out, results.lse


def combined(outs, lses):
    """The parts put together by their normalisers, in NumPy float64: out [B, T, N, Hv] and lse [B, N, T]."""
    outs, lses = np.asarray(outs, np.float64), np.asarray(lses, np.float64)
    lse = np.logaddexp.reduce(lses, axis=0)
    return (outs * np.exp(lses - lse).swapaxes(-1, -2)[..., None]).sum(0), lse


@pytest.mark.parametrize("engine", SOFTMAX_ENGINES)
def test_jax_nn_a_normaliser_in_bfloat16_spoils_what_is_combined_by_it(engine):
    inputs = make("scaled_dot", queries=64, dtype=jnp.bfloat16, scale=2.0)
    exact = oracle(equation("scaled_dot"), *inputs, visible=np.ones((2, 4, 64, 64), bool))
    outs, lses = in_splits(inputs, engine=engine)
    assert lses.dtype == jnp.float32
    ours = error(combined(outs, lses)[0], exact.out)
    whole = error(run("scaled_dot", inputs, engine="dense").out, exact.out)
    rounded = error(combined(outs, lses.astype(jnp.bfloat16))[0], exact.out)
    assert ours <= 2 * whole
    assert rounded > 2 * ours, "the case does not show the defect"


@pytest.mark.parametrize("engine", SOFTMAX_ENGINES)
def test_reformer_pytorch_a_finite_mask_value_enters_what_is_combined_over_rounds(engine):
    inputs = make("scaled_dot", queries=16)
    outs, lses = in_splits(inputs, engine=engine, causal=True)
    assert (np.asarray(lses)[1:, :, :, 0] == -np.inf).all()
    assert (np.asarray(outs)[1:, :, 0] == 0).all()
    out, lse = combined(outs, lses)
    first = np.repeat(inputs.value[:, 0], 2, axis=1)
    np.testing.assert_array_equal(out[:, 0], first, err_msg="the first token sees itself alone")
    whole = run("scaled_dot", inputs, mask=Causal(), engine="dense", outputs=("out", "lse"))
    assert error(out, whole.out) < AGREEMENT
    assert error(lse, whole.lse) < AGREEMENT


def test_flax_nnx_a_key_mask_with_causal_and_dropout_and_values_of_another_width():
    """There it raises. Here a mask over keys is Padding, and an array [B, 1, 1, S] is refused with that word."""
    inputs, real = make("scaled_dot", value_width=3), np.array([[1, 1, 0, 1, 1, 0, 1], [1, 0, 1, 1, 1, 1, 0]], bool)
    with pytest.raises(Refused, match=r"\(2, 1, 1, 7\).* a mask over keys alone is Padding\(array\)"):
        run("scaled_dot", inputs, mask=Causal() & real[:, None, None])
    rng, index = jax.random.key(3), jnp.arange(7)[None]
    arguments = {"mask": Causal() & Padding(real), "rng": rng, "dropout_rate": 0.3}
    keep = np.asarray(keep_mask(rng, 0.3, Place(jnp.arange(2), jnp.arange(4), index, index)))
    visible = np.tri(7, dtype=bool) & real[:, None, None] & np.ones((2, 4, 1, 1), bool)
    exact = oracle(equation("scaled_dot"), *inputs, visible=visible, keep=keep, rate=0.3)
    engines = qualified("scaled_dot", inputs, **arguments)
    assert set(engines) >= set(SOFTMAX_ENGINES)
    for engine in engines:
        assert error(run("scaled_dot", inputs, engine=engine, **arguments).out, exact.out) < ROUNDING, engine


def test_favor_plus_an_epsilon_swamps_the_features_at_width_64():
    """There the error is 0.78 at any number of features, which is uniform attention; here it falls as their root."""
    inputs = make("scaled_dot", batch=1, queries=32, heads=2, width=64, scale=0.5)
    exact = run("scaled_dot", inputs).out

    def of_features(count):
        spec = f"performer:features={count}"
        draws = [init(spec, jax.random.key(seed), Sizes(2, 1, 64, 64, 5))[1] for seed in range(4)]
        outs = [run_compiled(spec, inputs._replace(params=drawn), "dense").out for drawn in draws]
        return float(np.sqrt(np.mean([np.square(out - exact) for out in outs])) / np.std(exact))

    few, many = of_features(256), of_features(4096)
    of_uniform = float(np.sqrt(np.mean(np.square(run("uniform", inputs).out - exact))) / np.std(exact))
    assert many < 0.4 * few, "16 times the features should give a quarter of the error"
    assert many < 0.6 * of_uniform


@pytest.mark.parametrize("engine", ["dense", "blockwise", "gather"])
def test_xformers_global_positions_ignored_causal(engine):
    mask = Causal() & (Window(4) | Global(2))
    index = jnp.arange(129)
    axis = Axis(index, index[None])
    assert mask.causal
    assert not np.triu(mask.visible(axis, axis)[0, 0], 1).any()
    inputs = make("scaled_dot", batch=1, queries=129)
    later = (index >= 60)[None, :, None, None]
    other = make("scaled_dot", batch=1, queries=129, seed=1)
    changed = inputs.with_tokens(lambda old, new: jnp.where(later, new, old), other)
    with tiles(16, 16, 16):
        before, after = (
            np.asarray(run_compiled("scaled_dot", case, engine, mask=mask).out) for case in (inputs, changed)
        )
    np.testing.assert_array_equal(after[:, :60], before[:, :60])
    assert (after[:, 60:] != before[:, 60:]).any()


@pytest.mark.parametrize("spec", SPECS)
def test_mlpen_nystromformer_a_result_depends_on_the_other_sequences_of_the_batch(spec):
    inputs, others = make(spec), make(spec, seed=1, scale=30.0)
    first = np.arange(2) == 0
    beside_others = inputs.with_tokens(
        lambda mine, other: jnp.where(first.reshape(2, *(1,) * (mine.ndim - 1)), mine, other), others
    )
    mask = usual_mask(spec)
    for engine in qualified(spec, inputs, mask=mask):
        alone, beside = (run_compiled(spec, case, engine, mask=mask).out for case in (inputs, beside_others))
        assert same_bits(alone[0], beside[0]), engine
        assert not same_bits(alone[1], beside[1]), engine
