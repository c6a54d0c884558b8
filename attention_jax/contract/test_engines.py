"""Which engine runs is said, chosen and refused in words; the result does not depend on it, nor on its block size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import (
    GRADIENT_AGREEMENT,
    ROUNDING,
    SPECS,
    accepting,
    claiming,
    claims,
    error,
    explained,
    like_output,
    make,
    one_way,
    out_and_gradients,
    quick_jit,
    run,
    run_compiled,
    widely,
)
from attention_jax.contract.mask_cases import MASKS, under
from attention_jax.kernels import Composition, Refused, lookup
from attention_jax.kernels.engines import ENGINES, recurrence
from attention_jax.kernels.engines.engine import Engine
from attention_jax.kernels.mechanism import FeatureMap, LinearRecurrence

RECURRENT = [spec for spec in SPECS if isinstance(lookup(spec).mechanism, LinearRecurrence)]
MIXED = MASKS["causal&padding&segments"].mask
LINEAR = [spec for spec in SPECS if isinstance(lookup(spec).mechanism, FeatureMap)]


@pytest.mark.parametrize(("spec", "kind"), under(MASKS))
def test_explain_says_what_attend_does_and_why(spec, kind, monkeypatch):
    inputs, mask = make(spec), MASKS[kind].mask
    candidates = explained(spec, inputs, mask=mask)
    if isinstance(lookup(spec).mechanism, Composition):
        check_parts(candidates)
        return
    assert [candidate.engine for candidate in candidates] == list(ENGINES)
    (taken,) = (candidate.engine for candidate in candidates if candidate.taken)
    for name, engine in ENGINES.items():
        monkeypatch.setitem(ENGINES, name, Engine(refusal=engine.refusal, run=lambda problem, name=name: name))
    assert run(spec, inputs, mask=mask) == taken
    for candidate in candidates:
        assert candidate.reason
        if candidate.engine in accepting(spec, inputs, mask=mask):
            assert run(spec, inputs, mask=mask, engine=candidate.engine) == candidate.engine
        else:
            with pytest.raises(Refused) as refusal:
                run(spec, inputs, mask=mask, engine=candidate.engine)
            for word in (candidate.engine, spec, candidate.reason):
                assert word in str(refusal.value)


def check_parts(candidates):
    """Of a composition, each part in its turn has every engine, and one that is taken."""
    for first in range(0, len(candidates), len(ENGINES)):
        of_part = candidates[first : first + len(ENGINES)]
        assert [candidate.engine for candidate in of_part] == list(ENGINES)
        assert len({candidate.problem for candidate in of_part}) == 1
        assert sum(candidate.taken for candidate in of_part) == 1
        assert all(candidate.reason for candidate in of_part)


@pytest.mark.parametrize("spec", LINEAR)
@pytest.mark.parametrize("kind", MASKS)
def test_a_kernel_of_features_runs_as_a_recurrence_under_causal_padding_and_segments(spec, kind):
    recurrent = kind in ("none", "causal", "lengths", "padding", "causal&lengths", "causal&padding&segments")
    assert ("recurrence" in accepting(spec, make(spec), mask=MASKS[kind].mask)) == recurrent


@pytest.mark.parametrize("spec", SPECS)
def test_an_engine_that_does_not_exist_is_refused_with_the_nearest(spec):
    with pytest.raises(Refused, match=r"there is no engine 'dens'\. Did you mean 'dense'"):
        run_compiled(spec, make(spec), "dens", mask=one_way(spec))


@pytest.mark.parametrize("spec", claiming(state=True, bidirectional=True))
def test_when_no_engine_can_all_their_reasons_are_given(spec):
    with pytest.raises(Refused) as refusal:
        run(spec, make(spec), outputs=("state",))
    for name, engine_reason in {"recurrence": "needs a Causal mask", "dense": "carries no state"}.items():
        assert f"{name}: " in str(refusal.value)
        assert engine_reason in str(refusal.value)
    assert not any(candidate.taken for candidate in explained(spec, make(spec), outputs=("state",)))


def in_chunks(spec, size, dtype, monkeypatch):
    """The inputs, and the output and the gradients of the recurrence in chunks of so many tokens."""
    monkeypatch.setattr(recurrence, "CHUNK", size)
    inputs = jax.tree.map(lambda array: jnp.asarray(np.asarray(array), dtype), make(spec))

    @quick_jit
    def chunked(inputs, weighing):
        out, pullback = jax.vjp(lambda inputs: run(spec, inputs, mask=MIXED, engine="recurrence").out, inputs)
        return out, pullback(weighing)[0]

    return inputs, chunked(inputs, jnp.asarray(like_output(inputs), dtype))


@pytest.mark.parametrize("spec", widely(LINEAR + RECURRENT))
def test_the_recurrence_in_chunks_equals_one_chunk_and_the_dense_engine(spec, monkeypatch):
    """In float64, where all round next to nothing."""
    with jax.enable_x64(True):
        inputs, exact = in_chunks(spec, 2, jnp.float64, monkeypatch)
        others = [in_chunks(spec, 8, jnp.float64, monkeypatch)[1]]
        if spec in LINEAR:
            others.append(out_and_gradients(spec, inputs, like_output(inputs), mask=MIXED, engine="dense"))
    for other in others:
        for left, right in zip(jax.tree.leaves(other), jax.tree.leaves(exact), strict=True):
            assert left.dtype == right.dtype == np.float64
            assert error(left, right) < 1e-12


@pytest.mark.parametrize("spec", widely(LINEAR + RECURRENT))
def test_float32_in_chunks_is_as_near_to_float64_as_its_rounding_lets_it_be(spec, monkeypatch):
    with jax.enable_x64(True):
        _, exact = in_chunks(spec, 2, jnp.float64, monkeypatch)
    _, (out, gradients) = in_chunks(spec, 2, jnp.float32, monkeypatch)
    assert error(out, exact[0]) < ROUNDING
    # Weights that may all be near 0 are divided by a sum that is: their gradients are as steep.
    steep = 5 if claims(spec).weighted == "some" else 1
    for left, right in zip(jax.tree.leaves(gradients), jax.tree.leaves(exact[1]), strict=True):
        assert error(left, right) < steep * GRADIENT_AGREEMENT
