"""Under every mask: 0 for a query without a key; what is hidden is not felt."""

import jax
import numpy as np
import pytest

from attention_jax.contract.cases import (
    SPECS,
    claims,
    declared,
    like_output,
    make,
    out_and_gradients,
    qualified,
    same_bits,
)
from attention_jax.contract.mask_cases import MASKS, under, visible

# Of each the first that a variant takes is the one that it is always tried on.
LEAVES_NO_KEY = ["causal&padding&segments", "dense", "lengths"]
HIDES = ["causal&padding&segments", "dense", "lengths", "causal", "segments", "causal&window|global"]


def hiding(spec):
    """Where the choice of what to see can leak the future, only what other rules hide is not felt."""
    leaks = claims(spec).causal == "approximate"
    return [kind for kind in HIDES if not (leaks and MASKS[kind].mask.causal)]


POISONS = [(np.nan, np.inf), (np.inf, 0), (1e30, -1e30)]


@pytest.mark.parametrize(("spec", "kind"), under(LEAVES_NO_KEY, first=1))
def test_a_query_without_a_key_gives_zero_and_takes_no_part(spec, kind):
    mask, inputs, weighing = MASKS[kind].mask, make(spec), like_output(make(spec))
    rows = ~visible(spec, MASKS[kind]).any(-1).swapaxes(1, 2)
    assert rows.any()
    for engine in qualified(spec, inputs, mask=mask):
        out, gradients = out_and_gradients(spec, inputs, weighing, mask=mask, engine=engine)
        assert (np.asarray(out)[rows] == 0).all()
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
        assert (np.asarray(gradients.query)[rows] == 0).all()
        unweighed = np.where(rows[..., None], 0, weighing)
        assert same_bits(gradients, out_and_gradients(spec, inputs, unweighed, mask=mask, engine=engine)[1])


@pytest.mark.parametrize(("spec", "kind"), [case for spec in SPECS for case in under(hiding(spec), [spec], first=1)])
def test_what_is_hidden_is_not_felt_whatever_it_holds(spec, kind):
    mask, inputs, hidden = MASKS[kind].mask, make(spec), 5
    in_first_group = np.arange(4) < 4 // inputs.key.shape[2]
    sees = visible(spec, MASKS[kind])[..., hidden].swapaxes(1, 2) & in_first_group
    if not claims(spec).heads_apart:  # What one head sees, all of them feel.
        sees = np.broadcast_to(sees.any(2, keepdims=True), sees.shape)
    if claims(spec).steps:  # What one query sees, those after it feel by the state.
        sees = np.logical_or.accumulate(sees, axis=1)
    weighing = np.where(sees[..., None], 0, like_output(inputs))
    assert not sees.all()
    for engine in qualified(spec, inputs, mask=mask):
        clean, clean_gradients = out_and_gradients(spec, inputs, weighing, mask=mask, engine=engine)
        for in_key, in_value in POISONS:
            per_token = {
                name: array.at[:, hidden, 0].set(in_key) if declared(spec, name).of == "key" else array
                for name, array in inputs.per_token.items()
            }
            poisoned = inputs._replace(
                key=inputs.key.at[:, hidden, 0, 1].set(in_key),
                value=inputs.value.at[:, hidden, 0, 1].set(in_value),
                per_token=per_token,
            )
            out, gradients = out_and_gradients(spec, poisoned, weighing, mask=mask, engine=engine)
            assert same_bits(np.asarray(out)[~sees], np.asarray(clean)[~sees]), (engine, in_key)
            unusable = not np.isfinite(in_key)
            assert not unusable or np.isnan(np.asarray(out)[sees]).all(), "a query that sees NaN must say so"
            # A huge number that another query does see may overflow there, and 0 times infinity is NaN.
            if unusable or not sees.any():
                assert same_bits(gradients, clean_gradients), (engine, in_key)
