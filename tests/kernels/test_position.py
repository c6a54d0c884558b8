"""What the contract of position encodings does not see: their options, large positions, and positions in the values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error
from attention_jax.contract.positions.cases import BATCH, TOKENS, WIDTH, make, run
from attention_jax.kernels import (
    Causal,
    KeyValueCache,
    Refused,
    Sizes,
    attend,
    attend_cached,
    embed_positions,
    lookup_position,
)

REFUSED = {
    "rope:base=1.0": "rope has base=1: give more than 1",
    "rope:pairs=both": "pairs='both', which is not 'half' or 'interleaved'",
    "rope:fraction=0.0": r"rope has fraction=0: give a share in \(0, 1\]",
    "rope:fraction=1.5": r"rope has fraction=1.5: give a share in \(0, 1\]",
    "rope:scaling=linear": "scaling='linear', which is not 'none' or 'ntk' or 'yarn'",
    "rope:scaling=ntk,factor=0.5": "rope has factor=0.5: give at least 1",
    "rope:factor=2.0": "rope has factor=2 without scaling: give scaling=ntk or yarn",
    "rope:original=0": "rope has original=0: give at least 1",
    "rope:columns=-1": "rope has columns=-1: give at least 1, or 0 for a sequence",
    "rope:base=nan": "base='nan', which is not float",
    "t5:buckets=2": "t5 has buckets=2: give an even number from 4",
    "t5:buckets=7": "t5 has buckets=7: give an even number from 4",
    "t5:buckets=1,bidirectional=false": "t5 has buckets=1: give at least 2",
    "t5:buckets=8,furthest=2": "t5 has furthest=2: 2 distances have a bucket each, so give more than 2",
    "alibi:slope=1.0": "encoding 'alibi' has no option 'slope'",
    "xpos:base=1.0": "xpos has base=1: give more than 1",
    "xpos:gamma=0.0": "xpos has gamma=0: give more than 0",
    "xpos:scale_base=-1.0": "xpos has scale_base=-1: give more than 0",
    "xpos:pairs=both": "pairs='both', which is not 'half' or 'interleaved'",
    "kerple:kind=linear": "kind='linear', which is not 'log' or 'power'",
    "fire:threshold=0.0": "fire has threshold=0: give more than 0",
    "fire:width=0": "fire has width=0: give at least 1",
    "transformer_xl:width=5": "transformer_xl has width=5: give an even number from 2",
    "deberta:clip=0": "deberta has clip=0: give at least 1",
    "sinusoidal:base=1.0": "sinusoidal has base=1: give more than 1",
    "learned:length=0": "learned has length=0: give at least 1",
    "shaw:clip=0": "shaw has clip=0: give at least 1",
}


@pytest.mark.parametrize("spec", REFUSED)
def test_an_option_out_of_range_is_refused_in_one_line(spec):
    with pytest.raises(Refused, match=REFUSED[spec]) as refusal:
        lookup_position(spec)
    assert "\n" not in str(refusal.value)


def test_rope_turns_pairs_of_channels_and_refuses_an_odd_width():
    with pytest.raises(Refused, match="turns pairs of channels and was given 3: make the width a multiple of 2"):
        run("rope:fraction=0.4", make("rope:fraction=0.4"))


LEARNED = {"position_encoding": "learned:length=4", "params": {"position_table": jnp.ones((4, 6))}}


@pytest.mark.parametrize(
    ("positions", "words"),
    [
        ([[0, 1, 2, 3, 4]], "learned has positions for 4 tokens, not 5: give learned:length=5"),
        ([[0, 9]], "learned has positions 0 to 3, not 9: give learned:length=10"),
        ([[-1, 2]], "learned has no position -1: give positions from 0"),
    ],
)
def test_learned_refuses_positions_that_have_no_vector_in_one_line(positions, words):
    with pytest.raises(Refused, match=words) as refusal:
        embed_positions(jnp.zeros((1, len(positions[0]), 6)), np.array(positions), **LEARNED)
    assert "\n" not in str(refusal.value)


def test_learned_gives_nan_where_a_traced_position_has_no_vector():
    @jax.jit
    def embedded(positions):
        return embed_positions(jnp.zeros((1, 4, 6)), positions, **LEARNED)[0, :, 0]

    np.testing.assert_array_equal(embedded(np.array([[3, 4, -1, 0]])), [1, np.nan, np.nan, 1])


def test_what_adds_to_tokens_takes_an_even_width_alone():
    with pytest.raises(Refused, match="sinusoidal turns pairs of channels and was given 5"):
        embed_positions(jnp.zeros((1, 2, 5)), np.arange(2)[None])


def test_complex_order_takes_an_even_width_alone():
    hidden = jnp.zeros((1, 2, 5))
    with pytest.raises(Refused, match="complex_order turns pairs of channels and was given 5"):
        embed_positions(hidden, np.arange(2)[None], position_encoding="complex_order", params={"position_rates": 0})


def test_hermitian_products_of_complex_tokens_go_by_the_distance():
    rng, spec = np.random.default_rng(0), "complex_order"
    words, rates = (
        jnp.asarray(rng.normal(size=(1, 2, 8)), jnp.float32),
        {"position_rates": jnp.asarray([2.0, 0.7, 0.1, 0])},
    )

    def product(first, second):
        both = embed_positions(words, np.array([[first, second]]), position_encoding=spec, params=rates)[0]
        left, right = (one[:4] + 1j * one[4:] for one in both)
        return jnp.vdot(left, right)

    np.testing.assert_allclose(product(3, 8), product(103, 108), rtol=1e-4)
    assert abs(product(3, 8) - product(3, 9)) > 0.1
    sizes = jnp.abs(embed_positions(words, np.array([[5, 6]]), position_encoding=spec, params=rates) ** 2)
    np.testing.assert_allclose(sizes.sum(-1), (words**2).sum(-1), rtol=1e-5)


def test_xpos_is_rope_where_nothing_fades():
    inputs = make("rope")
    assert error(run("xpos:scale_base=1e9", inputs).out, run("rope", inputs).out) < AGREEMENT


@pytest.mark.parametrize("spec", ["xpos:scale_base=8.0", "xpos"])
def test_xpos_does_not_overflow_at_large_positions(spec):
    inputs, near, far = make(spec), np.arange(TOKENS)[None], np.arange(TOKENS)[None] + 2**20
    expected = run(spec, inputs, mask=Causal(), positions=near).out
    assert error(run(spec, inputs, mask=Causal(), positions=far).out, expected) < 2e-2  # what float32 angles leave

    last = inputs._replace(query=inputs.query[:, -1:])
    gradients = jax.grad(lambda one: run(spec, one, mask=Causal(), positions=(far[:, -1:], near)).out.sum())(last)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_xpos_is_the_formula_in_a_block_that_is_longer_than_its_powers_reach():
    tokens, width, scale_base, rows = 2048, 8, 8.0, np.array([0, 350, 1023, 1666, 2047])
    query, key, value = np.random.default_rng(0).normal(size=(3, 1, tokens, 1, width)).astype(np.float32)
    pair = 2 * np.arange(width // 2) / width
    complexes = [array[0, :, 0, :4].astype(np.float64) + 1j * array[0, :, 0, 4:] for array in (query[:, rows], key)]
    distance = rows[:, None] - np.arange(tokens)
    seen = distance >= 0
    fading = np.exp(np.where(seen, distance, 0)[..., None] * np.log((pair + 0.4) / 1.4) / scale_base)
    turned = np.exp(1j * distance[..., None] * 10000.0**-pair)
    logits = np.einsum("ic,jc,ijc->ij", complexes[0], complexes[1].conj(), fading * turned).real / width**0.5
    weights = np.where(seen, np.exp(logits), 0)
    expected = weights @ value[0, :, 0] / weights.sum(1, keepdims=True)

    def out(query, key):
        given = {"position_encoding": f"xpos:scale_base={scale_base}", "mask": Causal()}
        return attend(query, key, jnp.asarray(value), engine="dense", **given).out

    found, pullback = jax.vjp(out, jnp.asarray(query), jnp.asarray(key))
    assert error(found[0, rows, 0], expected) < 1e-5
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in pullback(jnp.ones_like(found)))


@pytest.mark.parametrize("spec", ["xpos", "transformer_xl"])
def test_what_is_for_dot_products_refuses_other_logits(spec):
    inputs = make(spec)
    with pytest.raises(Refused, match=f"{spec} is for logits that are dot products: use variant scaled_dot"):
        run(spec, inputs, variant="additive")


def test_shaw_in_the_values_decodes_with_a_cache_as_in_one_pass():
    inputs = make("shaw:clip=3")
    cache = KeyValueCache.empty(Sizes(4, 2, WIDTH, WIDTH, 5), batch=BATCH, capacity=9)
    rows = []
    for token in range(TOKENS):
        part = [array[:, token : token + 1] for array in inputs[:3]]
        result, cache = attend_cached(
            *part, cache, mask=Causal(), params=inputs.params, position_encoding="shaw:clip=3"
        )
        rows.append(result.out)
    expected = run("shaw:clip=3", inputs, mask=Causal()).out
    assert error(jnp.concatenate(rows, axis=1), expected) < AGREEMENT
    assert error(run("shaw:clip=3", inputs, mask=Causal(), outputs=("weights",)).out, expected) < AGREEMENT


def test_shaw_in_the_values_keeps_what_is_hidden_out_of_every_gradient():
    inputs = make("shaw:clip=3")
    poisoned = inputs._replace(value=inputs.value.at[:, 5:].set(jnp.nan))
    gradients = jax.grad(lambda one: run("shaw:clip=3", one, mask=Causal()).out[:, :5].sum())(poisoned)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert all(np.asarray(array).any() for array in gradients.params.values())
    assert np.isnan(run("shaw:clip=3", poisoned, mask=Causal()).out[:, 5:]).all()


def test_shaw_in_the_values_is_refused_by_an_engine_without_weights():
    inputs = make("shaw:clip=3")
    with pytest.raises(Refused, match=r"blockwise.*never holds all weights") as refusal:
        run("shaw:clip=3", inputs, engine="blockwise")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("spec", ["rope", "alibi", "t5"])
def test_a_sink_beside_it_leaves_the_encoding_as_it_is(spec):
    inputs = make(spec)
    sunk = inputs._replace(params={**inputs.params, "sink": jnp.full(4, -1e4)})
    given = {"position_encoding": spec, "mask": Causal(), "params": sunk.params}
    found = attend(*sunk[:3], variant="learned_sink", **given).out
    assert error(found, run(spec, inputs, mask=Causal()).out) < AGREEMENT


def test_a_composition_whose_logits_are_not_of_the_callers_tokens_takes_none():
    inputs = make("rope")
    with pytest.raises(Refused, match=r"moba takes no position_encoding \('rope'\): it has no logits of pairs"):
        attend(*inputs[:3], variant="moba", position_encoding="rope", mask=Causal())
