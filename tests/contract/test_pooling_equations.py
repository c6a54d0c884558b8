"""Every pooling is the equation of its paper, in float32 and in float64."""

import importlib

import jax
import numpy as np
import pytest

from attention_jax.contract.cases import ROUNDING, doubled, error, quick_jit
from attention_jax.contract.pooling.cases import CASES, REAL, Inputs, make, run
from attention_jax.kernels import lookup_pooling
from attention_jax.kernels.pool import POOLINGS

KNOWN = [case for case in CASES if lookup_pooling(case[0]).name in POOLINGS.catalogue.names()]


def oracle(spec: str, inputs: Inputs, number: int) -> tuple:
    """What the equation gives of the real tokens of one sequence."""
    chosen = lookup_pooling(spec)
    equation = importlib.import_module(f"tests.oracle.pooling.{chosen.name}").pool
    hidden, params, query = jax.tree.map(lambda array: np.asarray(array, np.float64), inputs)
    options = {name: value for name, (_, value) in chosen.options.items()}
    return equation(hidden[number][REAL[number]], None if query is None else query[number], params, **options)


@pytest.mark.parametrize("exact", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize(("spec", "with_query"), KNOWN)
def test_it_equals_the_equation_of_the_paper(spec, with_query, exact):
    inputs = make(spec, with_query)
    with jax.enable_x64(exact):
        pooled = quick_jit(lambda inputs: run(spec, inputs, REAL))(doubled(inputs) if exact else inputs)
    tolerance = 1e-12 if exact else 2 * ROUNDING
    for number in (0, 1):
        out, weights, *reported = oracle(spec, inputs, number)
        assert error(pooled.out[number], out) < tolerance
        assert (pooled.weights is None) == (weights is None)
        if weights is not None:
            np.testing.assert_allclose(pooled.weights[number][:, REAL[number]], weights, atol=tolerance)
        for name, value in (reported[0] if reported else {}).items():
            np.testing.assert_allclose(pooled.aux[name][number], value, rtol=10 * tolerance)
        assert len(pooled.aux) == (len(reported[0]) if reported else 0)
