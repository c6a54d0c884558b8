"""What `attend` refuses before any engine is asked: one line that names the thing, the value and the way out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels import Causal, Padding, Refused, Segments, Sizes, attend, explain, init

TOKENS = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 2, 8)), jnp.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"query": TOKENS[0]}, r"query has shape \(4, 2, 8\): give \[batch, tokens, heads, width\]"),
        ({"key": TOKENS[:, :0], "value": TOKENS[:, :0]}, r"key has shape \(2, 0, 2, 8\).*each at least 1"),
        ({"value": TOKENS.astype(int)}, "value is int32: cast it to one of bfloat16, float16, float32, float64"),
        ({"value": TOKENS[:, :3]}, r"key \(2, 4, 2, 8\) and value \(2, 3, 2, 8\) differ"),
        ({"query": TOKENS[:1]}, "query has a batch of 1 and key of 2"),
        ({"query": TOKENS[:, :, :1]}, "1 query heads do not divide among 2 key heads"),
        ({"query": TOKENS[..., :6]}, "queries and keys of one width, not 6 and 8: .* use variant general"),
        ({"variant": "scaled"}, r"there is no attention variant 'scaled'\. Did you mean 'scaled_dot'"),
        ({"variant": "cosine"}, r"cosine takes params \['log_beta'\], not \[\]: make them with init"),
        ({"params": {"weight": TOKENS}}, r"scaled_dot takes params \[\], not \['weight'\]"),
        ({"variant": "cosine", "params": {"log_beta": jnp.ones(3)}}, r"takes 'log_beta' of shape \(2,\).* not \(3,\)"),
        ({"positions": jnp.zeros((2, 3), int)}, r"query positions have shape \(2, 3\): give int \[2 or 1, 4\]"),
        ({"positions": (jnp.arange(4)[None], jnp.arange(4))}, r"key positions have shape \(4,\)"),
        ({"positions": jnp.zeros((1, 4))}, "query positions are float32: give whole numbers, int32"),
        ({"positions": jnp.zeros((1, 4), jnp.uint32)}, "query positions are uint32, which may leave int32: give int32"),
        ({"bias": jnp.zeros((3, 4))}, r"bias of shape \(3, 4\) does not broadcast to \[B, N, T, S\] = \[2, 2, 4, 4\]"),
        ({"bias": jnp.zeros((1, 2, 2, 4, 4))}, "does not broadcast"),
        ({"outputs": ("out", "weight")}, r"there is no output 'weight'\. Did you mean 'weights'"),
        ({"mask": "causal"}, r"mask='causal' is neither a mask nor an array: try Causal\(\)"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arrays, message):
    arguments = {"query": TOKENS, "key": TOKENS, "value": TOKENS} | arrays
    with pytest.raises(Refused, match=message) as refusal:
        attend(arguments.pop("query"), arguments.pop("key"), arguments.pop("value"), **arguments)
    assert "\n" not in str(refusal.value)


def test_an_argument_that_does_not_exist_is_an_error():
    with pytest.raises(TypeError, match="causal"):
        attend(TOKENS, TOKENS, TOKENS, causal=True)
    with pytest.raises(TypeError, match="causal"):
        explain(TOKENS, TOKENS, TOKENS, causal=True)


def test_segments_narrow_the_mask_and_may_differ_between_queries_and_keys():
    ids = jnp.array([[0, 0, 1, 1]] * 2)
    by_argument = attend(TOKENS, TOKENS, TOKENS, mask=Causal(), segments=ids).out
    np.testing.assert_array_equal(by_argument, attend(TOKENS, TOKENS, TOKENS, mask=Causal() & Segments(ids)).out)
    pair = (ids, ids[:, ::-1])
    np.testing.assert_array_equal(
        attend(TOKENS, TOKENS, TOKENS, segments=pair).out, attend(TOKENS, TOKENS, TOKENS, mask=Segments(*pair)).out
    )


@pytest.mark.parametrize("shape", [(), (4,), (4, 4), (2, 1, 4), (1, 2, 4, 4), (2, 1, 1, 4)])
def test_a_bias_of_any_shape_that_broadcasts_is_added_to_the_scaled_logits(shape):
    bias = jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)
    logits = np.einsum("btnh,bsnh->bnts", TOKENS, TOKENS) / np.sqrt(8) + np.asarray(bias)
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    weights = attend(TOKENS, TOKENS, TOKENS, bias=bias, outputs=("weights",)).weights
    np.testing.assert_allclose(weights, expected, rtol=1e-5)


def test_a_bias_that_is_nan_or_minus_infinity_where_nothing_is_seen_is_not_felt():
    mask, hidden = Padding(jnp.array([3, 3])), jnp.arange(4) == 3
    clean = attend(TOKENS, TOKENS, TOKENS, mask=mask, bias=jnp.zeros(4)).out

    @jax.jit
    def gradient(bias):
        return jax.grad(lambda tokens: attend(tokens, TOKENS, TOKENS, mask=mask, bias=bias).out.sum())(TOKENS)

    for poison in (jnp.nan, jnp.inf, -jnp.inf):
        bias = jnp.where(hidden, poison, 0.0)
        np.testing.assert_array_equal(attend(TOKENS, TOKENS, TOKENS, mask=mask, bias=bias).out, clean)
        assert np.isfinite(gradient(bias)).all()


def test_a_hidden_key_weighs_nothing_even_beside_keys_of_very_low_logits():
    out = attend(0 * TOKENS, TOKENS, TOKENS, mask=Padding(jnp.array([2, 3])), bias=jnp.full(4, -1e5)).out
    np.testing.assert_allclose(out[0, 0], TOKENS[0, :2].mean(0), rtol=1e-6)
    np.testing.assert_allclose(out[1, 0], TOKENS[1, :3].mean(0), rtol=1e-6)


def test_a_hidden_value_so_large_that_its_products_overflow_is_not_felt_in_any_gradient():
    @jax.jit
    def gradients(value):
        def total(query, key, value):
            return attend(query, key, value, mask=Padding(jnp.array([3, 3]))).out.sum()

        return jax.grad(total, argnums=(0, 1, 2))(TOKENS, TOKENS, value)

    huge = TOKENS.at[:, 3].set(jnp.finfo(jnp.float32).max)
    for clean, after in zip(gradients(TOKENS), gradients(huge), strict=True):
        np.testing.assert_array_equal(after, clean)


def test_the_output_has_the_dtype_of_the_query_and_the_statistics_are_float32():
    half = TOKENS.astype(jnp.bfloat16)
    result = attend(half, half, half, outputs=("out", "weights", "lse"))
    assert (result.out.dtype, result.weights.dtype, result.lse.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    exact = np.asarray(half, np.float64)
    total = np.exp(np.einsum("btnh,bsnh->bnts", exact, exact) / np.sqrt(8)).sum(-1)
    np.testing.assert_allclose(result.lse, np.log(total), rtol=1e-6, err_msg="the logits were rounded to bfloat16")


def test_init_gives_the_trained_arrays_and_the_drawn_ones_apart():
    widths = Sizes(heads=2, kv_heads=2, query=8, key=8, value=8)
    trained, drawn = init("performer", jax.random.key(0), widths)
    assert (list(trained), list(drawn)) == ([], ["projection"])
    trained, drawn = init("additive", jax.random.key(0), widths)
    assert (sorted(trained), list(drawn)) == (["key", "query", "value"], [])
