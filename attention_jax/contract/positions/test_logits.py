"""In the logits: the same on every engine and tile, by positions alone, step by step, and plain where it is nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import AGREEMENT, GRADIENT_AGREEMENT, error, quick_jit, same_bits, widely
from attention_jax.contract.positions.cases import (
    BATCH,
    MASKS,
    OF_LOGITS,
    POSITIONS_GIVEN,
    TOKENS,
    WIDTH,
    claims,
    in_tiles_of_two,
    make,
    out_and_gradients,
    run,
    run_compiled,
)
from attention_jax.kernels import Causal, KeyValueCache, Refused, Sizes, attend, attend_cached
from attention_jax.kernels.engines import ENGINES

RELATIVE = [spec for spec in OF_LOGITS if claims(spec).relative]
LIMITS = [(spec, limit) for spec in OF_LOGITS for limit in claims(spec).limits]


def engines(spec, inputs, **arguments):
    """Those that do not refuse."""

    def takes(engine):
        try:
            return jax.eval_shape(lambda: run(spec, inputs, engine=engine, **arguments).out) is not None
        except Refused:
            return False

    return [engine for engine in ENGINES if takes(engine)]


# The mixed mask for every encoding; the others hold the engines.
EVERY = [(spec, "causal&padding") for spec in OF_LOGITS]
ENGINES_HELD = widely(((spec, kind) for spec in OF_LOGITS for kind in MASKS if kind != "causal&padding"), ["rope"])


@pytest.mark.parametrize(("spec", "kind"), EVERY + ENGINES_HELD)
def test_every_engine_and_small_tiles_give_the_same_result_and_gradients(spec, kind, monkeypatch):
    inputs, arguments = make(spec), {"mask": MASKS[kind], "positions": POSITIONS_GIVEN}
    expected, expected_gradients = out_and_gradients(spec, inputs, "dense", **arguments)
    monkeypatch.setitem(ENGINES, "blockwise", dataclasses.replace(ENGINES["blockwise"], run=in_tiles_of_two))
    found = engines(spec, inputs, **arguments)
    assert {"dense", "blockwise"} <= {*found}
    for engine in set(found) - {"dense", "blockwise"}:
        assert error(run_compiled(spec, inputs, engine=engine, **arguments).out, expected) < AGREEMENT
    tiled = quick_jit(lambda one, given: out_and_gradients.__wrapped__(spec, one, "blockwise", **given))
    out, gradients = tiled(inputs, arguments)
    assert error(out, expected) < AGREEMENT
    for left, right in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected_gradients), strict=True):
        assert np.abs(left - right).max() < 2 * GRADIENT_AGREEMENT * max(1.0, float(np.abs(right).max()))


@pytest.mark.parametrize("spec", OF_LOGITS)
def test_it_goes_by_positions_and_not_by_the_order_of_the_array(spec):
    inputs, order = make(spec), np.array([4, 0, 6, 2, 1, 5, 3])
    expected = run_compiled(spec, inputs, mask=Causal()).out
    mixed = inputs.with_tokens(lambda array: array[:, order])
    assert error(run_compiled(spec, mixed, mask=Causal(), positions=order[None]).out, expected[:, order]) < AGREEMENT
    counted = run_compiled(spec, inputs, mask=Causal(), positions=np.arange(TOKENS)[None]).out
    assert error(counted, expected) < AGREEMENT
    assert error(run_compiled(spec, inputs, mask=Causal(), positions=3 * np.arange(TOKENS)[None]).out, expected) > 1e-3


@pytest.mark.parametrize("spec", RELATIVE)
def test_a_relative_one_goes_by_distances_alone(spec):
    inputs = make(spec)
    first, shifted = (run_compiled(spec, inputs, positions=POSITIONS_GIVEN + shift).out for shift in (0, 100))
    assert error(shifted, first) < 20 * AGREEMENT


@pytest.mark.parametrize(("spec", "limit"), LIMITS)
def test_in_its_limit_it_is_another_variant(spec, limit):
    inputs = make(limit.spec)
    params = {name: jnp.asarray(array) for name, array in limit.params(Sizes(4, 2, WIDTH, WIDTH, 5)).items()}
    found = run_compiled(limit.spec, inputs._replace(params=inputs.params | params)).out
    expected = attend(*inputs[:3], variant=limit.equals).out
    assert error(found, expected) < limit.tolerance
    assert error(run_compiled(limit.spec, inputs).out, expected) > 1e-3


@pytest.mark.parametrize(
    ("spec", "chunks"),
    [(spec, (1,) * 7) for spec in OF_LOGITS] + widely(((spec, (4, 1, 2)) for spec in OF_LOGITS), ["rope"]),
    ids=str,
)
def test_decoding_with_a_cache_equals_one_pass(spec, chunks):
    inputs = make(spec)
    cache = KeyValueCache.empty(Sizes(4, 2, WIDTH, WIDTH, 5), batch=BATCH, capacity=9)
    cache = KeyValueCache(key=cache.key * jnp.nan, value=cache.value * jnp.nan, length=cache.length)
    step = quick_jit(
        lambda part, cache: attend_cached(*part, cache, mask=Causal(), params=inputs.params, position_encoding=spec)
    )
    done, rows = 0, []
    for size in chunks:
        part = [array[:, done : done + size] for array in inputs[:3]]
        result, cache = step(part, cache)
        rows.append(result.out)
        done += size
    assert error(jnp.concatenate(rows, axis=1), run_compiled(spec, inputs, mask=Causal()).out) < AGREEMENT


@pytest.mark.parametrize("spec", OF_LOGITS)
def test_what_is_hidden_never_touches_the_result_nor_has_a_gradient(spec):
    inputs = make(spec)
    poisoned = inputs._replace(key=inputs.key.at[:, 5:].set(jnp.nan), value=inputs.value.at[:, 5:].set(jnp.nan))
    clean, spoilt = (run_compiled(spec, one, mask=Causal()).out for one in (inputs, poisoned))
    assert same_bits(clean[:, :5], spoilt[:, :5])
    assert np.isnan(spoilt[:, 5:]).all()
    gradients = quick_jit(jax.grad(lambda one: run(spec, one, mask=Causal()).out[:, :5].sum()))(inputs)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert not any(np.asarray(array[:, 5:]).any() for array in gradients[:3])


@pytest.mark.parametrize("spec", OF_LOGITS)
def test_it_is_traced_in_strict_modes_in_float32_and_bfloat16(spec):
    for dtype in (jnp.float32, jnp.bfloat16):
        narrow = make(spec).with_tokens(lambda array, dtype=dtype: array.astype(dtype))
        for mode in (jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict")):
            with mode:
                out = jax.eval_shape(lambda one: run(spec, one, mask=Causal(), positions=POSITIONS_GIVEN).out, narrow)
                jax.eval_shape(jax.grad(lambda one: run(spec, one).out.astype(jnp.float32).sum()), narrow)
            assert out.dtype == dtype


@pytest.mark.parametrize("spec", OF_LOGITS)
def test_every_trained_array_has_a_gradient(spec):
    _, gradients = out_and_gradients(spec, make(spec), "dense")
    assert all(np.asarray(array).any() for array in gradients.params.values())


@pytest.mark.parametrize("spec", OF_LOGITS)
def test_a_variant_without_logits_refuses_it_in_one_line(spec):
    query = make(spec).query
    with pytest.raises(Refused, match=r"has no logits of pairs to put it in\. Use variant scaled_dot") as refusal:
        attend(query, query, query, variant="linear", position_encoding=spec)
    assert "\n" not in str(refusal.value)
