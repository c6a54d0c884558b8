"""Every mixer is the equation of its paper, in float32 and in float64."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.cases import ROUNDING, error, quick_jit
from attention_jax.contract.mixers.cases import BATCH, HEADS, REAL, SPECS, TOKENS, claims, make, module_for, takes
from attention_jax.kernels import Causal, Mask, Padding, Refused
from attention_jax.layers import Seen
from attention_jax.layers.mixer import MIXERS

KNOWN = [spec for spec in SPECS if MIXERS.choose(spec).name in MIXERS.catalogue.names()]


def masks(spec: str) -> list[tuple[Mask | None, np.ndarray]]:
    """The masks to try, each with who sees whom, bool [B, T, T]."""
    everyone, before = np.ones((BATCH, TOKENS, TOKENS), bool), np.tril(np.ones((TOKENS, TOKENS), bool))
    found: list[tuple[Mask | None, np.ndarray]] = [(None, everyone)]
    if takes(spec, "Padding"):
        found.append((Padding(REAL), everyone & REAL[:, None]))
    if claims(spec).causal == "strict":
        found.append((Causal(), everyone & before))
    return found


# Other forms than the one that the contract tries.
FORMS = ["aft:form=simple", "aft:factors=None"]


@pytest.mark.parametrize(
    ("spec", "exact"),
    [*((spec, exact) for spec in KNOWN for exact in (False, True)), *((spec, True) for spec in FORMS)],
)
def test_it_equals_the_equation_of_the_paper(spec, exact):
    chosen = MIXERS.choose(spec)
    mix = importlib.import_module(f"tests.oracle.mixers.{chosen.name}").mix
    options = {name: value for name, (_, value) in chosen.options.items()}
    inputs, variables = jax.tree.map(lambda array: np.asarray(array, np.float64), make(spec))
    module = module_for(spec, dtype="float64") if exact else module_for(spec)
    with jax.enable_x64(exact):
        given = jax.tree.map(jnp.asarray, (inputs, variables))
        for mask, visible in masks(spec):
            out = quick_jit(lambda given, mask=mask: module.apply(given[1], given[0], Seen(mask)).out)(given)
            for number in range(BATCH):
                params = variables.get("params", {}).get("attention", {})
                expected = mix(inputs[number], params, visible[number], heads=HEADS, **options)
                real = REAL[number] if isinstance(mask, Padding) else slice(None)
                if expected[real].size:
                    assert error(out[number][real], expected[real]) < (1e-12 if exact else 3 * ROUNDING)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("mla:latent=0", "mla has latent=0: give at least 1"),
        ("aft:factors=0", "aft has factors=0: give at least 1"),
        ("aft:form=conv", "which is not 'full' or 'local' or 'simple'"),
        ("tpa:key_rank=0", "tpa has key_rank=0: give at least 1"),
        ("mega:chunk=0", "mega has chunk=0: give at least 1"),
        ("longformer:window=3", "longformer has window=3: give an even number"),
        ("longformer:globals=0", "longformer has globals=0: give at least 1, or use attention sliding_window"),
    ],
)
def test_options_out_of_range_are_refused(spec, reason):
    with pytest.raises(Refused, match=reason):
        MIXERS.choose(spec)
