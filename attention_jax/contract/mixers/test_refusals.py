"""What a mixer does not claim it refuses, and what it claims it takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, quick_jit
from attention_jax.contract.mixers.cases import (
    HEADS,
    SPECS,
    TOKENS,
    WEIGHING,
    claims,
    make,
    mixed_and_gradients,
    module_for,
    one_way,
    options_for,
    takes,
)
from attention_jax.kernels import Causal, Padding, Refused, Segments, Window
from attention_jax.layers import Seen
from attention_jax.layers.mixer import mixer

OTHER = {
    "num_kv_heads": 1,
    "head_width": 6,
    "query_key_norm": True,
    "query_scale": 0.3,
    "attention_dropout_rate": 0.2,
    "engine": "dense",
    "window": 2,
    "value_residual": "learned",
}
MASKS = {
    "Causal": Causal(),
    "Padding": Padding(np.arange(TOKENS) < np.array([[5], [7], [3]])),
    "Segments": Segments(np.array([[0, 0, 0, 1, 1, 1, 1]])),
    "Window": Window(2),
}


def traced(spec, seen=None, **options):
    inputs, _ = make(spec)
    seen = Seen(one_way(spec)) if seen is None else seen
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return jax.eval_shape(lambda: module_for(spec, **options).init(rngs, inputs, seen, deterministic=False))


@pytest.mark.parametrize("option", OTHER)
@pytest.mark.parametrize("spec", SPECS)
def test_an_option_is_claimed_or_refused(spec, option):
    if option in claims(spec).options:
        traced(spec, **{option: OTHER[option]})
        return
    with pytest.raises(Refused, match=f"does not take model.{option}="):
        traced(spec, **{option: OTHER[option]})


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("spec", SPECS)
def test_a_mask_is_claimed_or_refused(spec, kind):
    if takes(spec, kind) and (kind != "Causal" or claims(spec).causal == "strict"):
        traced(spec, Seen(MASKS[kind]))
        return
    with pytest.raises(Refused, match=r"does not take the mask|has no causal form"):
        traced(spec, Seen(MASKS[kind]))


@pytest.mark.parametrize("positions", ["rope", "alibi", "t5"])
@pytest.mark.parametrize("spec", SPECS)
def test_a_position_encoding_is_claimed_or_refused(spec, positions):
    if positions in claims(spec).positions:
        traced(spec, positions=positions)
        return
    with pytest.raises(Refused, match=f"does not take model.positions='{positions}' in its logits"):
        traced(spec, positions=positions)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if "window" in claims(spec).options])
def test_the_window_of_a_layer_is_the_mask(spec):
    inputs, variables = make(spec)
    by_mask, _ = mixed_and_gradients(spec, inputs, variables, Seen(Causal() & Window(2)), WEIGHING)
    module = module_for(spec, window=2)
    by_option = quick_jit(lambda variables: module.apply(variables, inputs, Seen(Causal())).out)(variables)
    assert error(by_option, by_mask) < AGREEMENT


@pytest.mark.parametrize("spec", SPECS)
def test_it_looks_at_no_memory(spec):
    with pytest.raises(Refused, match="looks at no memory"):
        mixer(spec, options_for(spec), 1, Seen(), cross=True)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if "head_width" in claims(spec).options])
def test_the_width_of_a_head_is_that_of_the_option(spec):
    shapes = traced(spec, head_width=6)["params"]["attention"]["out"]["kernel"].shape
    assert shapes[:2] == (HEADS, 6)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if "attention_dropout_rate" in claims(spec).options])
def test_weights_are_dropped_where_the_option_says_so(spec):
    inputs, variables = make(spec)
    module = module_for(spec, attention_dropout_rate=0.5)

    @quick_jit
    def out(variables, seed):
        rngs = {"dropout": jax.random.key(seed)}
        return module.apply(variables, inputs, Seen(one_way(spec)), deterministic=False, rngs=rngs).out

    first, again, other = (out(variables, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert jnp.abs(first - other).max() > 1e-3
