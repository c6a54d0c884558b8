"""The engine that normalises rows: in parts of any size what it is in one, whatever argument a part has to cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, GRADIENT_AGREEMENT, error, like_output, make, quick_jit, run
from attention_jax.contract.mask_cases import MASKS
from attention_jax.kernels import Causal, Refused, Window, attend, budget, explain

SPECS = ("sparsemax", "entmax15", "top_k:k=3")
KEY = jax.random.key(3)
ARGUMENTS = {
    "mask by position": lambda: {"mask": Causal() & Window(3), "positions": jnp.array([[3, 4, 5, 6, 9, 10, 11]])},
    "mask of pairs": lambda: {"mask": MASKS["dense"].mask},
    "bias of pairs": lambda: {"bias": jnp.asarray(np.random.default_rng(1).normal(size=(2, 1, 7, 7)), jnp.float32)},
    "bias of keys": lambda: {"bias": jnp.asarray(np.random.default_rng(1).normal(size=(7,)), jnp.float32)},
    "score function": lambda: {"score_mod": lambda score, b, h, i, j: score - 0.2 * jnp.abs(i - j)},
    "dropout": lambda: {"rng": KEY, "dropout_rate": 0.3},
}


def solved(spec, inputs, arguments):
    """The output, and the gradients of it weighed."""

    def call(inputs):
        return run(spec, inputs, engine="rows", **arguments).out

    out, pullback = quick_jit(lambda inputs: jax.vjp(call, inputs))(inputs)
    return out, pullback(jnp.asarray(like_output(inputs), out.dtype))[0]


@pytest.mark.parametrize("given", ARGUMENTS)
@pytest.mark.parametrize("spec", SPECS)
def test_parts_give_what_the_whole_gives(spec, given, monkeypatch):
    inputs, arguments = make(spec), ARGUMENTS[given]()
    whole, gradients = solved(spec, inputs, arguments)
    # Of 2 sequences, 4 heads and 7 keys two queries at a time: the last part is filled up.
    monkeypatch.setattr(budget, "ELEMENTS", 2 * 4 * 7 * 2)
    parts, again = solved(spec, inputs, arguments)
    assert error(parts, whole) < AGREEMENT
    for left, right in zip(jax.tree.leaves(again), jax.tree.leaves(gradients), strict=True):
        assert error(left, right) < GRADIENT_AGREEMENT


@pytest.mark.parametrize("spec", SPECS)
def test_a_long_sequence_is_solved_in_parts_and_few_keys_have_weight(spec):
    inputs = make(spec, batch=1, queries=600, heads=4)
    engines = {one.engine for one in explain(inputs.query, inputs.key, inputs.value, variant=spec) if one.taken}
    assert engines == {"rows"}
    weights = run(spec, inputs, engine="dense", outputs=("weights",)).weights
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert (weights > 0).sum(-1).max() < 150


def test_equal_logits_share_and_a_lone_key_has_all():
    query, value = jnp.zeros((1, 1, 1, 4)), jnp.arange(4.0).reshape(1, 4, 1, 1)
    for spec, expected in (("sparsemax", 1.5), ("entmax15", 1.5), ("top_k:k=2", 0.5)):
        out = attend(query, jnp.zeros((1, 4, 1, 4)), value, variant=spec).out
        assert out.item() == pytest.approx(expected)


def test_more_keys_than_there_are_are_refused():
    with pytest.raises(Refused, match="top_k has k=9 and there are 7 keys: give at most that, or scaled_dot"):
        run("top_k:k=9", make("top_k"))
    with pytest.raises(Refused, match="top_k has k=0: at least 1 key has weight"):
        run("top_k:k=0", make("top_k:k=3"))
