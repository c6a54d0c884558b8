"""Forgetting: open gates forget nothing, sums stay exact at the end of a long sequence, tiles agree."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, GRADIENT_AGREEMENT, error, make, quick_jit, run, run_compiled
from attention_jax.contract.positions.cases import in_tiles_of_two
from attention_jax.kernels import Causal, Refused, Segments, Window, attend
from attention_jax.kernels.engines import ENGINES


def test_with_open_gates_it_is_scaled_dot_product_attention():
    inputs = make("forgetting")
    opened = inputs._replace(per_token={"gate": jnp.full_like(inputs.per_token["gate"], 100.0)})
    plain = inputs._replace(per_token={})
    expected = run_compiled("scaled_dot", plain, mask=Causal()).out
    assert error(run_compiled("forgetting", opened, mask=Causal()).out, expected) < AGREEMENT
    assert error(run_compiled("forgetting", inputs, mask=Causal()).out, expected) > 0.1


def test_at_the_end_of_a_long_sequence_a_difference_of_sums_is_not_rounded_away():
    keys, rng = 60000, np.random.default_rng(0)
    query, key = rng.normal(size=(1, 1, 1, 2)), rng.normal(size=(1, keys, 1, 2))
    value, gate = rng.normal(size=(1, keys, 1, 3)), rng.normal(size=(1, keys, 1))
    positions = (np.array([[keys - 1]]), np.arange(keys)[None])
    call = jax.jit(lambda *arrays: attend(
        *arrays[:3], variant="forgetting", per_token={"gate": arrays[3]}, mask=Causal(), positions=positions
    ).out)  # fmt: skip
    out = call(*(jnp.asarray(array, jnp.float32) for array in (query, key, value, gate)))
    sums = np.cumsum(-np.log1p(np.exp(-gate[0, :, 0])))
    assert np.spacing(np.float32(-sums[-1])) > 1e-3
    logits = key[0, :, 0] @ query[0, 0, 0] / np.sqrt(2) + sums[-1] - sums
    weights = np.exp(logits - logits.max())
    assert error(out[0, 0, 0], weights @ value[0, :, 0] / weights.sum()) < 1e-5


def test_small_tiles_give_what_all_weights_at_once_give(monkeypatch):
    monkeypatch.setitem(ENGINES, "blockwise", dataclasses.replace(ENGINES["blockwise"], run=in_tiles_of_two))
    inputs, mask = make("forgetting"), Causal() & Segments(np.array([[3, 3, 1, 1, 1, 3, 3]]))

    def total(inputs, engine):
        out = run("forgetting", inputs, mask=mask, engine=engine).out
        return jnp.sin(3 * out).sum(), out

    call = quick_jit(jax.grad(total, has_aux=True), static_argnums=1)
    (expected, out), (found, other) = (call(inputs, name) for name in ("dense", "blockwise"))
    assert error(other, out) < AGREEMENT
    for left, right in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert error(left, right) < 2 * GRADIENT_AGREEMENT


def test_a_window_is_refused_in_one_line():
    with pytest.raises(Refused, match="takes masks of Causal, Padding, Segments joined by &, not Window") as refusal:
        run("forgetting", make("forgetting"), mask=Causal() & Window(3))
    assert "\n" not in str(refusal.value)
