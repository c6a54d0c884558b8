"""A strict variant under a causal mask: nothing of the future reaches the past, seen by derivatives and by bits."""

import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    AGREEMENT,
    claiming,
    claims,
    declared,
    error,
    like_output,
    make,
    out_and_gradients,
    part_of,
    qualified,
    reference_engine,
    run,
    run_compiled,
    widely,
)
from attention_jax.contract.mask_cases import MASKS, MaskKind, behind, counted, visible
from attention_jax.kernels import Causal, Refused

STRICT = claiming(causal="strict")
PADDED = MaskKind(Causal() & behind([7, 5]), lambda b, n, i, j: j <= i and j < (7, 5)[b])
ORDER = np.array([4, 0, 6, 2, 5, 1, 3])


def influence(spec, inputs, mask, engine):
    """How much out[b, t] depends on each array of tokens at [b, s]: for each an array [B, T, S] of |derivative|."""
    each_query = (np.arange(7)[:, None] == np.arange(7))[:, None, :, None, None]
    weighings, given = like_output(inputs) * each_query, {"mask": mask, "engine": engine, **counted(spec)}
    gradients = [out_and_gradients(spec, inputs, one, **given)[1].tokens for one in weighings]
    arrays = (np.abs(np.stack(of_one, axis=1)) for of_one in zip(*gradients, strict=True))
    return [array.reshape(*array.shape[:3], -1).max(3) for array in arrays]


@pytest.mark.parametrize("spec", STRICT)
def test_derivatives_of_the_past_with_respect_to_the_future_are_exactly_zero(spec):
    inputs, sees = make(spec), visible(spec, PADDED).any(1)
    for engine in qualified(spec, inputs, mask=PADDED.mask):
        of_query, of_key, of_value, *of_others = influence(spec, inputs, PADDED.mask, engine)
        used = np.eye(7, dtype=bool) if claims(spec).rows_apart else np.tri(7, dtype=bool)
        assert (of_query[:, ~used] == 0).all(), "a query is used in its own row, or after it where rows are not apart"
        rows = np.broadcast_to(used, sees.shape)
        allowed = (rows if declared(spec, name).of == "query" else sees for name in inputs.per_token)
        for array, where in zip((of_key, *of_others), (sees, *allowed), strict=True):
            assert (array[~where] == 0).all(), "a key that is not seen does not count"
        assert all((array != 0).any() for array in of_others)
        assert (of_value[~sees] == 0).all(), "a value that is not seen does not count"
        # Of several heads each may leave out another key; the own key of the first token is all that it sees.
        assert claims(spec).weighted == "some" or (of_value[sees] != 0).all(), "each value seen counts"


@pytest.mark.parametrize("spec", STRICT)
def test_changing_the_future_does_not_change_a_bit_of_the_past(spec):
    inputs, other = make(spec), make(spec, seed=9, scale=30.0)
    changed = inputs.with_tokens(lambda old, new: jnp.concatenate([old[:, :4], new[:, 4:]], axis=1), other)
    for engine in qualified(spec, inputs, mask=Causal()):
        before, after = (np.asarray(run_compiled(spec, case, engine, mask=Causal()).out) for case in (inputs, changed))
        np.testing.assert_array_equal(after[:, :4], before[:, :4])
        assert (after[:, 4:] != before[:, 4:]).any()


@pytest.mark.parametrize("spec", claiming(causal="strict", order_free=True, rows_apart=True))
def test_causality_is_by_position_in_whatever_order_the_tokens_lie(spec):
    inputs = make(spec)
    shuffled = inputs.with_tokens(lambda array: np.asarray(array)[:, ORDER])
    past = (ORDER < 4)[None, :, None, None]
    out, gradients = out_and_gradients(
        spec,
        shuffled,
        like_output(inputs) * past,
        engine=reference_engine(spec),
        mask=Causal() & behind([7, 7]),
        positions=ORDER[None],
    )
    assert error(out, np.asarray(run_compiled(spec, inputs, mask=Causal()).out)[:, ORDER]) < AGREEMENT
    for gradient in gradients[:3]:
        assert (np.asarray(gradient)[:, ORDER >= 4] == 0).all(), "what stands later does not count, wherever it lies"
    counts = np.asarray(gradients.value)[:, ORDER < 4] != 0
    assert counts.any() if claims(spec).weighted == "some" else counts.all()


@pytest.mark.parametrize("spec", widely(claiming(causal="strict", cross=True, rows_apart=True)))
def test_the_last_queries_alone_give_the_end_of_the_whole_but_only_with_positions(spec):
    inputs = make(spec)
    suffix = part_of(spec, inputs, slice(4, 7), slice(0, 7))
    with pytest.raises(Refused, match="3 queries and 7 keys is ambiguous: give positions"):
        run(spec, suffix, mask=Causal())
    positions = (jnp.arange(4, 7)[None], jnp.arange(7)[None])
    whole = run_compiled(spec, inputs, mask=Causal()).out
    assert error(run_compiled(spec, suffix, mask=Causal(), positions=positions).out, whole[:, 4:]) < AGREEMENT


@pytest.mark.parametrize("kind", ["causal", "window", "prefix", "global", "causal&window|global"])
def test_every_mask_by_position_asks_for_positions_when_lengths_differ(kind):
    inputs = make("scaled_dot")
    with pytest.raises(Refused, match="give positions"):
        run("scaled_dot", inputs._replace(query=inputs.query[:, 4:]), mask=MASKS[kind].mask)
