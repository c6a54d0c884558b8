"""GPT: blind to the future with every strict variant, and in the shape and the start that its paper gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax import models
from attention_jax.contract.cases import STANDING, claiming, widely
from attention_jax.kernels import Refused, lookup
from attention_jax.models.gpt import GPT
from tests.layers.arrays import apply, random_variables, variant_file

VOCABULARY, LENGTH = 11, 6
TOKENS = jnp.asarray(np.random.default_rng(0).integers(VOCABULARY, size=(1, LENGTH)), jnp.int32)


STRICT = sorted({lookup(spec).name for spec in claiming(causal="strict")})


def tiny(**options) -> GPT:
    facts = {"vocabulary_size": VOCABULARY, "length": LENGTH}
    return models.build("gpt", facts=facts, **{"num_layers": 1, "num_heads": 2, "width": 8, **options})


def traced(model: GPT, tokens: jax.Array = TOKENS) -> dict:
    return jax.eval_shape(lambda: model.init(jax.random.key(0), tokens))


@pytest.mark.parametrize("variant", widely(STRICT, standing=[lookup(spec).name for spec in STANDING]))
def test_no_later_token_changes_a_prediction(variant):
    check_blind(tiny(attention=variant, num_layers=2))


@pytest.mark.parametrize("options", [{"value_residual": "per_token"}, {"residual": "attention_over_depth"}], ids=str)
def test_no_later_token_is_seen_through_the_layers_below(options):
    check_blind(tiny(**options, num_layers=3))


def check_blind(model: GPT) -> None:
    # Row t gets other tokens after position t, in place: how a number is rounded may depend on its row.
    later = np.arange(LENGTH) > np.arange(LENGTH)[:, None]
    rows = jnp.broadcast_to(TOKENS, (LENGTH, LENGTH))
    variables = random_variables(model, rows)
    before, after = (
        np.asarray(apply(model, variables, tokens))
        for tokens in (rows, jnp.where(later, (rows + 1) % VOCABULARY, rows))
    )
    assert before.shape == (LENGTH, LENGTH, VOCABULARY)
    np.testing.assert_array_equal(np.abs(after - before).max(axis=-1) > 0, later)


def test_the_first_token_reaches_the_last_prediction():
    model = tiny()
    rows = jnp.concatenate([TOKENS, TOKENS.at[0, 0].add(1) % VOCABULARY])
    logits = apply(model, random_variables(model, rows), rows)
    assert float(jnp.abs(logits[0] - logits[1])[-1].max()) > 1e-3


def test_logits_that_are_asked_for_are_those_of_their_places():
    model = tiny()
    variables = random_variables(model, TOKENS)
    asked = jnp.array([[4, 0, 4]])
    there = model.apply(variables, TOKENS, asked=asked)
    np.testing.assert_allclose(there, apply(model, variables, TOKENS)[:, asked[0]], rtol=1e-6, atol=1e-6)


def test_each_logit_is_the_product_with_that_tokens_own_embedding():
    model = tiny()
    variables = random_variables(model, TOKENS)
    assert set(variables["params"]) == {"token", "position", "block_0", "norm"}
    absent = next(token for token in range(VOCABULARY) if token not in TOKENS[0])
    embedding = variables["params"]["token"]["embedding"]
    params = {**variables["params"], "token": {"embedding": embedding.at[absent].set(0)}}
    logits = apply(model, {"params": params}, TOKENS)
    assert (logits[..., absent] == 0).all()
    assert (jnp.delete(logits, absent, axis=-1) != 0).all()


def test_what_writes_to_the_residual_stream_starts_smaller_by_the_root_of_twice_the_layers():
    model = tiny(num_layers=3, width=64, vocabulary_size=500, init_stddev=0.05, use_bias=True)
    params = jax.jit(model.init)(jax.random.key(0), TOKENS)["params"]
    block = params["block_2"]
    inner = block["attention"]["query"], block["attention"]["value"], block["feed_forward"]["hidden"]
    for drawn in (params["token"]["embedding"], *(layer["kernel"] for layer in inner)):
        assert float(drawn.std()) == pytest.approx(0.05, rel=0.05)
    for half in ("attention", "feed_forward"):
        assert float(block[half]["out"]["kernel"].std()) == pytest.approx(0.05 / 6**0.5, rel=0.05)
        assert (block[half]["out"]["bias"] == 0).all()


def test_the_nanogpt_shape_has_the_parameters_of_its_formula():
    vocabulary, length, layers, width = 65, 64, 4, 128
    model = models.build(
        "gpt", facts={"vocabulary_size": vocabulary, "length": length}, num_layers=layers, num_heads=4, width=width
    )
    shapes = traced(model, jnp.zeros((1, length), jnp.int32))["params"]
    norm = 2 * width
    block = 4 * width**2 + 2 * 4 * width**2 + 2 * norm
    expected = (vocabulary + length) * width + layers * block + norm
    assert expected == 805_248
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected


def test_bfloat16_computes_in_it_and_keeps_parameters_and_logits_in_float32():
    model, half = tiny(), tiny(dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(traced(half))} == {jnp.dtype(jnp.float32)}
    variables = random_variables(model, TOKENS)
    exact, logits = apply(model, variables, TOKENS), apply(half, variables, TOKENS)
    assert logits.dtype == jnp.float32
    error = float(jnp.abs(logits - exact).max() / jnp.abs(exact).max())
    assert 1e-5 < error < 0.05


def test_more_tokens_than_positions_are_refused_and_fewer_are_not():
    with pytest.raises(Refused, match="7 tokens are more than the 6 positions"):
        traced(tiny(), jnp.zeros((1, LENGTH + 1), jnp.int32))
    traced(tiny(), TOKENS[:, :2])


def test_variants_that_are_not_causal_are_refused(tmp_path):
    with variant_file(tmp_path) as path:
        with pytest.raises(Refused, match="model gpt predicts the next token"):
            traced(tiny(attention=f"{path}:bidirectional_only"))
        with pytest.raises(Refused, match="set approximate_causal=True"):
            traced(tiny(attention=f"{path}:leaky"))
        traced(tiny(attention=f"{path}:leaky", approximate_causal=True))


def test_what_a_sequence_holds_while_it_is_decoded_is_of_all_layers():
    one, two = (models.decode_bytes(tiny(num_layers=layers)) for layers in (1, 2))
    assert two == 2 * one == 2 * (2 * LENGTH * 8 * 4 + 4)
    assert models.decode_bytes(tiny(num_kv_heads=1)) < one
    assert models.decode_bytes(tiny(length=10**9, attention="linear")) == models.decode_bytes(tiny(attention="linear"))


def test_a_model_that_does_not_decode_holds_nothing_for_it():
    assert (
        models.decode_bytes(
            models.build("encoder_classifier", facts={"length": 4, "vocabulary_size": 3, "num_classes": 2})
        )
        is None
    )
