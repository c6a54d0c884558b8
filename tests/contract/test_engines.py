"""Which engine runs is said, chosen and refused in words; the result does not depend on it, nor on its block size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels import Causal, Padding, Refused, explain, lookup
from attention_jax.kernels.engines import ENGINES, recurrence
from attention_jax.kernels.engines.engine import Engine
from attention_jax.kernels.mechanism import FeatureMap
from tests.contract.cases import (
    AGREEMENT,
    GRADIENT_AGREEMENT,
    MASKS,
    SPECS,
    claiming,
    error,
    like_output,
    make,
    out_and_gradients,
    qualified,
    quick_jit,
    run,
)

LINEAR = [spec for spec in SPECS if isinstance(lookup(spec).mechanism, FeatureMap)]


def explained(spec, inputs, **arguments):
    return explain(inputs.query, inputs.key, inputs.value, variant=spec, params=inputs.params, **arguments)


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("spec", SPECS)
def test_explain_says_what_attend_does_and_why(spec, kind, monkeypatch):
    inputs, mask = make(spec), MASKS[kind].mask
    candidates = explained(spec, inputs, mask=mask)
    assert [candidate.engine for candidate in candidates] == list(ENGINES)
    (taken,) = (candidate.engine for candidate in candidates if candidate.taken)
    for name, engine in ENGINES.items():
        monkeypatch.setitem(ENGINES, name, Engine(refusal=engine.refusal, run=lambda problem, name=name: name))
    assert run(spec, inputs, mask=mask) == taken
    for candidate in candidates:
        assert candidate.reason
        if candidate.engine in qualified(spec, inputs, mask=mask):
            assert run(spec, inputs, mask=mask, engine=candidate.engine) == candidate.engine
        else:
            with pytest.raises(Refused) as refusal:
                run(spec, inputs, mask=mask, engine=candidate.engine)
            for word in (candidate.engine, spec, candidate.reason):
                assert word in str(refusal.value)


@pytest.mark.parametrize("spec", LINEAR)
@pytest.mark.parametrize("kind", MASKS)
def test_a_kernel_of_features_runs_as_a_recurrence_under_causal_and_padding(spec, kind):
    recurrent = kind in ("none", "causal", "lengths", "padding", "causal&lengths")
    assert ("recurrence" in qualified(spec, make(spec), mask=MASKS[kind].mask)) == recurrent


@pytest.mark.parametrize("spec", SPECS)
def test_an_engine_that_does_not_exist_is_refused_with_the_nearest(spec):
    with pytest.raises(Refused, match=r"there is no engine 'dens'\. Did you mean 'dense'"):
        run(spec, make(spec), engine="dens")


@pytest.mark.parametrize("spec", claiming(state=True))
def test_when_no_engine_can_all_their_reasons_are_given(spec):
    with pytest.raises(Refused) as refusal:
        run(spec, make(spec), outputs=("state",))
    for name, engine_reason in {"recurrence": "needs a Causal mask", "dense": "carries no state"}.items():
        assert f"{name}: " in str(refusal.value)
        assert engine_reason in str(refusal.value)
    assert not any(candidate.taken for candidate in explained(spec, make(spec), outputs=("state",)))


@pytest.mark.parametrize("spec", LINEAR)
def test_the_recurrence_in_chunks_equals_the_dense_engine(spec, monkeypatch):
    monkeypatch.setattr(recurrence, "CHUNK", 3)
    inputs, mask = make(spec), Causal() & Padding(np.array([7, 4]))
    weighing = jnp.asarray(like_output(inputs), jnp.float32)

    @quick_jit
    def chunked(inputs):
        out, pullback = jax.vjp(lambda inputs: run(spec, inputs, mask=mask, engine="recurrence").out, inputs)
        return out, pullback(weighing)[0]

    out, gradients = chunked(inputs)
    dense_out, dense_gradients = out_and_gradients(spec, inputs, weighing, mask=mask, engine="dense")
    assert error(out, dense_out) < AGREEMENT
    for left, right in zip(jax.tree.leaves(gradients), jax.tree.leaves(dense_gradients), strict=True):
        assert error(left, right) < GRADIENT_AGREEMENT
