"""Padding, wherever it stands, is as if it were not there: in the output, in the state, and in every gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    AGREEMENT,
    SPECS,
    claiming,
    claims,
    doubled,
    error,
    goes_by_positions,
    like_output,
    lookup,
    make,
    out_and_gradients,
    qualified,
    run,
    run_compiled,
    usual_mask,
    widely,
)
from attention_jax.contract.mask_cases import counted
from attention_jax.kernels import Causal, Padding, Refused, attend

PADDED = [spec for spec in SPECS if claims(spec).causal == "strict"]
# Of an alignment the keys are another sequence than the queries, of which padding says nothing: each takes its step.
OF_ONE_SEQUENCE = [spec for spec in PADDED if not claims(spec).steps]
# Two sequences of 7 places: padding before, between and behind 4 real tokens.
REAL = np.array([[0, 1, 1, 0, 1, 1, 0], [1, 0, 0, 1, 0, 1, 1]], bool)
PLACES = REAL.shape[1]


FRONT = np.arange(PLACES) < REAL.sum(1)[:, None]


def among_padding(spec, real):
    """The same four tokens of each sequence at these places, among others that hold large numbers."""
    alone, padding = make(spec), make(spec, seed=7, scale=30.0)
    rows = np.arange(2)[:, None], np.stack([np.flatnonzero(row) for row in real])
    spread = padding.with_tokens(lambda old, new: jnp.asarray(old).at[rows].set(new[:, : real[0].sum()]), alone)
    return spread._replace(params=alone.params), rows


@pytest.mark.parametrize("spec", OF_ONE_SEQUENCE)
def test_a_padded_step_neither_forgets_nor_counts_from_either_side_and_gets_no_gradient(spec):
    weighing, found = like_output(make(spec)), []
    for real in (FRONT, REAL):
        inputs, rows = among_padding(spec, real)
        given = {"mask": Causal() & Padding(real), **counted(spec)}
        of_real = np.zeros_like(weighing)
        of_real[rows] = weighing[FRONT].reshape(of_real[rows].shape)
        engine = qualified(spec, inputs, **given)[0]
        out, gradient = out_and_gradients(spec, inputs, of_real, engine=engine, **given)
        for array in gradient.tokens:
            np.testing.assert_array_equal(np.asarray(array)[~real], 0)
        found.append((np.asarray(out)[rows], [np.asarray(array)[rows] for array in gradient.tokens]))
    # A rule of one's own may go by places in the array.
    if not goes_by_positions(spec) and lookup(spec).mechanism.mask is None:
        (of_alone, gradient_alone), (out, gradient) = found
        unpadded = run_compiled(spec, make(spec), mask=Causal()).out
        assert error(of_alone, unpadded[:, :4]) < AGREEMENT
        assert error(out, of_alone) < AGREEMENT
        for array, expected in zip(gradient, gradient_alone, strict=True):
            assert error(array, expected) < 2 * AGREEMENT


@pytest.mark.parametrize("spec", widely(PADDED))
def test_padding_counts_where_the_batch_is_one(spec):
    inputs = make(spec, batch=1)
    mask = Causal() & Padding(np.array([4]))
    changed = inputs.with_tokens(lambda array: jnp.asarray(array).at[:, 4:].set(100.0))
    out, other = (run_compiled(spec, case, mask=mask).out for case in (inputs, changed))
    np.testing.assert_array_equal(out[:, :4], other[:, :4])
    assert error(out[:, :4], run_compiled(spec, inputs, mask=Causal()).out[:, :4]) < AGREEMENT


@pytest.mark.parametrize("spec", claiming(state=True))
def test_a_state_after_padding_is_that_before_it(spec):
    inputs = make(spec, queries=9)
    first, rest = (inputs.with_tokens(lambda a, s=s: a[:, s]) for s in (slice(0, 5), slice(5, 9)))
    mask = Causal() & Padding(np.array([0, 0]))
    state = run_compiled(spec, first, mask=Causal(), outputs=("out", "state")).state
    hidden = run_compiled(spec, rest, mask=mask, state=state, outputs=("out", "state")).state
    last = inputs.with_tokens(lambda a: a[:, 5:6])
    after, before = (
        run_compiled(spec, last, mask=Causal(), state=s, outputs=("out", "state")).out for s in (hidden, state)
    )
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("spec", widely(SPECS))
def test_a_mask_beside_the_borders_of_documents_holds_with_them_or_is_refused(spec):
    inputs = make(spec)
    ids = np.array([[0, 0, 0, 1, 1, 1, 1]] * 2)
    usual = usual_mask(spec)
    # Packed documents count their positions each from 0.
    places = {"positions": np.array([[0, 1, 2, 0, 1, 2, 3]])} if goes_by_positions(spec) else {}
    try:
        both = run_compiled(spec, inputs, mask=Causal() & Padding(np.array([7, 6])), segments=ids, **places).out
    except Refused:
        return
    for start, end in ((0, 3), (3, 7)):
        part = inputs.with_tokens(lambda array, s=start, e=end: array[:, s:e])
        lengths = np.clip(np.array([7, 6]) - start, 0, end - start)
        assert error(both[:, start:end], run_compiled(spec, part, mask=Causal() & Padding(lengths)).out) < AGREEMENT
    if usual is None:
        one_way = run_compiled(spec, inputs, segments=ids, **places).out
        assert error(one_way[:, :3], run_compiled(spec, inputs.with_tokens(lambda array: array[:, :3])).out) < AGREEMENT


# What makes a gate 1: the tokens' own arrays and the mechanism's.
OPEN = {
    "gated_linear": ({"gate": 1e9}, {}),
    "gated_retention": ({"gate": 1e9}, {}),
    "mamba2": ({"gate": 3.0}, {"log_rate": -jnp.inf}),
    "gated_delta_net": ({"gate": 3.0}, {"log_rate": -jnp.inf}),
    "kimi_delta": ({"gate": 3.0}, {"log_rate": -jnp.inf}),
}


@pytest.mark.parametrize("spec", [spec for spec in SPECS if lookup(spec).name in OPEN])
def test_a_gate_of_one_is_the_mechanism_without_a_gate(spec):
    inputs, name = make(spec), lookup(spec).name
    of_tokens, of_params = OPEN[name]
    per_token = {k: jnp.full_like(a, of_tokens[k]) if k in of_tokens else a for k, a in inputs.per_token.items()}
    params = {k: jnp.full_like(a, of_params[k]) if k in of_params else a for k, a in inputs.params.items()}
    opened = run_compiled(spec, inputs._replace(params=params, per_token=per_token), mask=Causal()).out
    if "delta" in name:
        given = {"variant": "delta_net", "per_token": {"beta": per_token["beta"]}, "mask": Causal()}
        expected = attend(*inputs[:3], **given).out
    else:
        written = np.log1p(np.exp(3.0 + np.asarray(params["step_bias"]))) if name == "mamba2" else np.ones(2)
        query = np.asarray(inputs.query, np.float64) * (1 if name == "mamba2" else 8**-0.5)
        key, value = (np.repeat(np.asarray(a, np.float64), 2, axis=2) for a in (inputs.key, inputs.value))
        weights = np.tril(np.einsum("btnh,bsnh->bnts", query, key)) * np.repeat(written, 2)[None, :, None, None]
        expected = np.einsum("bnts,bsnv->btnv", weights, value)
    assert error(opened, expected) < 2 * AGREEMENT


@pytest.mark.parametrize("spec", widely(claiming(bias=True)))
def test_a_bias_has_its_gradient_at_any_batch(spec):
    # Weights may have kinks, which a long step would meet.
    with jax.enable_x64(True):
        for batch in (1, 2):
            inputs = doubled(make(spec, batch=batch))
            heads, length = inputs.query.shape[2], 1e-6

            def total(bias, inputs=inputs):
                return (run(spec, inputs, mask=usual_mask(spec), bias=bias).out ** 2).sum()

            for shape in ((batch, heads, 7, 7), (1, 1, 7, 7), (heads, 1, 1), (7,)):
                bias = jnp.zeros(shape)
                found = jax.grad(total)(bias)
                step = length * jnp.cos(jnp.arange(bias.size)).reshape(shape)
                along = (total(bias + step) - total(bias - step)) / 2
                np.testing.assert_allclose((found * step).sum(), along, rtol=2e-2, atol=1e-3 * length)
