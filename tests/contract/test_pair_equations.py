"""Every pair is the equation of its paper, in float32 and in float64."""

import importlib

import jax
import numpy as np
import pytest

from attention_jax.contract.cases import ROUNDING, doubled, error, quick_jit
from attention_jax.contract.pairs.cases import FIRST, REAL, SECOND, SPECS, claims, make, places, run
from attention_jax.kernels import lookup_pair
from attention_jax.kernels.attend_pair import PAIRS

KNOWN = [spec for spec in SPECS if lookup_pair(spec).name in PAIRS.catalogue.names()]


@pytest.mark.parametrize("exact", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("spec", KNOWN)
def test_it_equals_the_equation_of_the_paper(spec, exact):
    inputs, chosen = make(spec), lookup_pair(spec)
    with jax.enable_x64(exact):
        paired = quick_jit(lambda inputs: run(spec, inputs, *REAL))(doubled(inputs) if exact else inputs)
    equation = importlib.import_module(f"tests.oracle.pairs.{chosen.name}").pair
    options = {name: value for name, (_, value) in chosen.options.items()}
    tokens, params = jax.tree.map(lambda array: np.asarray(array, np.float64), (inputs[:2], inputs.params))
    tolerance = 1e-12 if exact else 2 * ROUNDING
    for number in (0, 1, 4) if claims(spec).order_free else (0, 1):
        seen = FIRST[number], SECOND[number]
        first, second, affinity = equation(
            *(array[number][real] for array, real in zip(tokens, seen, strict=True)), params, **options
        )
        assert error(places(paired.first[number], seen[0], len(seen[0])), first) < tolerance
        assert error(places(paired.second[number], seen[1], len(seen[1])), second) < tolerance
        assert error(np.asarray(paired.affinity)[number][np.ix_(*seen)], affinity) < tolerance
