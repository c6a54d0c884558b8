"""Which tokens are felt: not padding, not those of other sequences and documents, and not those to come."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error, same_bits
from attention_jax.contract.mixers.cases import (
    LENGTHS,
    REAL,
    SPECS,
    TOKENS,
    WEIGHING,
    claiming,
    make,
    mixed_and_gradients,
    one_way,
    padded,
    takes,
)
from attention_jax.kernels import Causal, Segments
from attention_jax.layers import Seen

PADDED = [spec for spec in SPECS if takes(spec, "Padding")]
PACKED = [spec for spec in SPECS if takes(spec, "Causal", "Segments")]
# Two documents that share the second row.
DOCUMENT, PLACE = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 1, 2, 0, 1, 2, 3])


@pytest.mark.parametrize("spec", PADDED)
def test_padding_is_not_felt_whatever_it_holds(spec):
    inputs, variables = make(spec)
    weighing = np.where(REAL[..., None], WEIGHING, 0)
    clean, (of_inputs, of_variables) = mixed_and_gradients(spec, inputs, variables, padded(spec), weighing)
    np.testing.assert_array_equal(np.asarray(of_inputs)[~REAL], 0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(of_variables))
    for poison in (np.nan, np.inf, 1e30):
        others = jnp.where(REAL[..., None], inputs, np.float32(poison))
        out, _ = mixed_and_gradients(spec, others, variables, padded(spec), weighing)
        np.testing.assert_array_equal(np.asarray(out)[REAL], np.asarray(clean)[REAL])


@pytest.mark.parametrize("spec", PADDED)
def test_padding_is_as_if_it_were_not_there(spec):
    inputs, variables = make(spec)
    out, _ = mixed_and_gradients(spec, inputs, variables, padded(spec), WEIGHING)
    length = LENGTHS[0]
    alone, _ = mixed_and_gradients(spec, inputs[:1, :length], variables, Seen(one_way(spec)), WEIGHING[:1, :length])
    assert error(out[:1, :length], alone) < AGREEMENT


@pytest.mark.parametrize("spec", SPECS)
def test_sequences_are_apart(spec):
    inputs, variables = make(spec)
    seen = Seen(one_way(spec))
    out, _ = mixed_and_gradients(spec, inputs, variables, seen, WEIGHING)
    other, _ = mixed_and_gradients(spec, inputs.at[1:].set(make(spec, seed=1)[0][1:]), variables, seen, WEIGHING)
    assert same_bits(out[0], other[0])
    assert not same_bits(out[1], other[1])


@pytest.mark.parametrize("spec", claiming(causal="strict"))
def test_no_token_to_come_is_felt_and_the_first_is_felt_by_the_last(spec):
    inputs, variables = make(spec)
    for token in range(TOKENS):
        weighing = np.where(np.arange(TOKENS)[:, None] == token, WEIGHING, 0)
        out, (gradient, _) = mixed_and_gradients(spec, inputs, variables, Seen(Causal()), weighing)
        np.testing.assert_array_equal(np.asarray(gradient)[:, token + 1 :], 0)
        later = jnp.where(np.arange(TOKENS)[:, None] > token, np.float32(1e4), inputs)
        changed, _ = mixed_and_gradients(spec, later, variables, Seen(Causal()), weighing)
        assert error(changed[:, : token + 1], out[:, : token + 1]) < AGREEMENT
    assert np.abs(gradient[:, 0]).max() > 1e-6


@pytest.mark.wide
@pytest.mark.parametrize("spec", PACKED)
def test_a_document_that_shares_a_row_is_as_if_it_were_alone(spec):
    inputs, variables = make(spec)
    packed = Seen(Causal() & Segments(jnp.asarray(DOCUMENT)[None]), jnp.asarray(PLACE)[None])
    out, _ = mixed_and_gradients(spec, inputs, variables, packed, WEIGHING)
    alone, _ = mixed_and_gradients(spec, inputs[:, 3:], variables, Seen(Causal()), WEIGHING[:, 3:])
    assert error(out[:, 3:], alone) < AGREEMENT
