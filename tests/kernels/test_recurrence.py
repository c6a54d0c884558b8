"""The recurrence engine: lengths that do not fill a chunk, what a state holds, and what it refuses."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import quick_jit
from attention_jax.kernels import PER_HEAD, Causal, Padding, Refused, Segments, attend, lookup
from attention_jax.kernels.checks import checked
from attention_jax.kernels.engines import dense, recurrence

IDS = jnp.zeros((1, 3), int)
RNG = np.random.default_rng(0)


def tokens(length, batch=1):
    return jnp.asarray(RNG.normal(size=(batch, length, 2, 4)), jnp.float32)


def linear(query, key, value, **arguments):
    return attend(query, key, value, variant="linear", engine="recurrence", **{"mask": Causal()} | arguments)


@pytest.mark.parametrize("size", [1, 4, 16])
def test_nine_tokens_in_chunks_that_they_fill_and_do_not_fill(size, monkeypatch):
    monkeypatch.setattr(recurrence, "CHUNK", size)
    query, key, value = (tokens(9) for _ in range(3))
    features_of_query, features_of_key = (np.where(x > 0, x + 1, np.exp(x)) for x in (query, key))
    kernel = np.einsum("btnh,bsnh->bnts", features_of_query, features_of_key) * np.tri(9)
    expected = np.einsum("bnts,bsnh->btnh", kernel / kernel.sum(-1, keepdims=True), value)
    out = jax.jit(lambda *arrays: linear(*arrays).out)(query, key, value)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_the_state_is_the_sum_of_features_times_values_and_one():
    key, value = tokens(3), tokens(3)
    state = linear(tokens(3), key, value, outputs=("state",)).state
    features = np.where(key > 0, key + 1, np.exp(key))
    extended = np.concatenate([value, np.ones_like(value[..., :1])], axis=-1)
    np.testing.assert_allclose(state.total, np.einsum("bskm,bskv->bkmv", features, extended), rtol=1e-5)
    assert (state.log_scale == 0).all()
    assert not state.poisoned.any()


def test_a_state_of_hidden_tokens_alone_is_empty_and_what_follows_is_as_if_they_were_not():
    key, value = tokens(3), tokens(3)
    hidden = linear(tokens(3), key, value, mask=Causal() & Padding(jnp.array([0])), outputs=("out", "state"))
    assert (hidden.out == 0).all()
    assert (hidden.state.log_scale == -jnp.inf).all()
    after = linear(key, key, value, state=hidden.state).out
    np.testing.assert_array_equal(after, linear(key, key, value).out)


def test_a_state_remembers_that_a_token_held_nan():
    value = tokens(3)
    state = linear(value, value, value.at[0, 1, 0].set(jnp.nan), outputs=("state",)).state
    np.testing.assert_array_equal(state.poisoned, [[True, False]])
    for _ in range(2):
        later = linear(tokens(3), tokens(3), tokens(3), state=state, outputs=("out", "state"))
        assert np.isnan(later.out[:, :, 0]).all()
        assert np.isfinite(later.out[:, :, 1]).all()
        state = later.state


def test_a_scale_that_grows_or_falls_by_far_more_than_a_float_holds():
    key = jnp.concatenate([tokens(3) * 1e-3, tokens(3) * 40, tokens(3) * 1e-3], axis=1)
    projection = {"projection": jax.random.normal(jax.random.key(0), (16, 4))}

    @quick_jit
    def by_both(*arrays):
        arguments = {"variant": "performer:features=16", "params": projection, "mask": Causal()}
        return [attend(*arrays, engine=engine, **arguments).out for engine in ("recurrence", "dense")]

    for order in (slice(None), slice(None, None, -1)):
        by_chunk, expected = by_both(key * 0.01, key[:, order], tokens(9))
        assert np.isfinite(by_chunk).all()
        np.testing.assert_allclose(by_chunk, expected, rtol=1e-4, atol=1e-5)


def test_a_later_key_so_large_that_its_products_overflow_is_not_felt_before_it():
    query, key, value = tokens(3), tokens(3), tokens(3)
    plain = linear(query, key, value).out
    overflowing = linear(query, key.at[:, 2].set(jnp.finfo(jnp.float32).max), value).out
    np.testing.assert_array_equal(overflowing[:, :2], plain[:, :2])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"mask": Causal() | Padding(jnp.array([2]))}, r"it takes Causal, Padding and Segments, not \(Causal \| Pad"),
        ({"mask": Segments(IDS)}, "Segments is the end of one state .* it needs a Causal mask beside it"),
        ({"mask": Causal() & Segments(IDS, IDS + 1)}, "it takes one segment id a token"),
        ({"mask": Causal() & Segments(IDS) & Segments(IDS)}, "it takes one segment id a token"),
        ({"positions": jnp.arange(3)[None]}, "it takes tokens in their order in the array, not by positions"),
        ({"mask": None, "outputs": ("state",)}, "a state is of the past: it needs a Causal mask"),
    ],
)
def test_what_it_cannot_do_is_refused_with_the_reason(arguments, reason):
    with pytest.raises(Refused, match=f"engine recurrence cannot run linear here: {reason}"):
        linear(tokens(3), tokens(3), tokens(3), **arguments)


def test_a_mechanism_whose_inputs_no_engine_reads_is_refused():
    gated = lookup("linear")
    gated = replace(gated, mechanism=replace(gated.mechanism, per_token={"gate": PER_HEAD}))
    problem = replace(
        checked(tokens(3), tokens(3), tokens(3), variant="linear"), variant=gated, per_token={"gate": IDS}
    )
    assert "no per_token arrays" in recurrence.refusal(problem)
    assert "no per_token arrays" in dense.refusal(problem)


def test_a_softmax_is_not_a_product_of_features():
    with pytest.raises(Refused, match="its weights are not a product of features"):
        attend(tokens(3), tokens(3), tokens(3), engine="recurrence")
