"""In the token embeddings: by positions alone, in the dtype of the tokens, and refused by attend."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, error
from attention_jax.contract.positions.cases import BATCH, OF_LOGITS, OF_TOKENS, POSITIONS_GIVEN, TOKENS, WIDTH
from attention_jax.kernels import Refused, attend, embed_positions, lookup_position
from attention_jax.kernels.arrays import SequenceSizes, made

HIDDEN = jnp.asarray(np.random.default_rng(0).normal(size=(BATCH, TOKENS, WIDTH)), jnp.float32)


def params(spec):
    """Its own arrays."""
    trained, drawn = made(lookup_position(spec).made.arrays, jax.random.key(0), SequenceSizes(WIDTH))
    return trained | drawn


@pytest.mark.parametrize("spec", OF_TOKENS)
def test_a_token_changes_by_its_own_position_alone(spec):
    own, order = params(spec), np.array([4, 0, 6, 2, 1, 5, 3])
    out = embed_positions(HIDDEN, POSITIONS_GIVEN, position_encoding=spec, params=own)
    mixed = embed_positions(HIDDEN[:, order], POSITIONS_GIVEN[:, order], position_encoding=spec, params=own)
    assert error(mixed, out[:, order]) < AGREEMENT
    assert error(embed_positions(HIDDEN, POSITIONS_GIVEN + 1, position_encoding=spec, params=own), out) > 1e-3


@pytest.mark.parametrize("spec", OF_TOKENS)
def test_every_trained_array_and_every_token_has_a_gradient(spec):
    def total(hidden, own):
        return jnp.sin(embed_positions(hidden, POSITIONS_GIVEN, position_encoding=spec, params=own)).sum()

    of_hidden, of_own = jax.grad(total, argnums=(0, 1))(HIDDEN, params(spec))
    assert np.asarray(of_hidden).all()
    assert all(np.asarray(array).any() for array in of_own.values())


@pytest.mark.parametrize("spec", OF_TOKENS)
def test_it_is_traced_in_strict_modes_in_the_dtype_of_the_tokens(spec):
    for dtype in (jnp.float32, jnp.bfloat16):
        with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
            out = jax.eval_shape(
                lambda hidden: embed_positions(hidden, POSITIONS_GIVEN, position_encoding=spec, params=params(spec)),
                HIDDEN.astype(dtype),
            )
        assert out.dtype == dtype
        assert out.shape == HIDDEN.shape


@pytest.mark.parametrize("spec", [spec for spec in OF_TOKENS if spec not in OF_LOGITS])
def test_attend_refuses_it_in_one_line(spec):
    query = HIDDEN[:, :, None]
    with pytest.raises(Refused, match="adds to the token embeddings, before queries and keys are made") as refusal:
        attend(query, query, query, position_encoding=spec)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("spec", OF_TOKENS)
def test_positions_that_do_not_fit_are_refused(spec):
    with pytest.raises(Refused, match=r"positions have shape \(3, 7\): give int \[2 or 1, 7\]"):
        embed_positions(HIDDEN, np.zeros((3, 7), int), position_encoding=spec, params=params(spec))
