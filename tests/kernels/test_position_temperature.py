"""Temperatures by the log of the position: both forms, and every engine that a scaled dot product has."""

import numpy as np
import pytest

from attention_jax.contract.cases import ROUNDING, accepting, error, make, run
from attention_jax.kernels import Causal, Refused
from tests.oracle.equations import equation
from tests.oracle.loops import oracle

PAST = np.broadcast_to(np.tri(7, dtype=bool), (2, 4, 7, 7))


@pytest.mark.parametrize("smooth", ["true", "false"])
def test_both_forms_are_their_equations_and_differ(smooth):
    spec, inputs = f"position_temperature:rate=0.7,start=2,smooth={smooth}", make("scaled_dot")
    expected = oracle(equation(spec), *inputs, visible=PAST).out
    assert error(run(spec, inputs, mask=Causal()).out, expected) < ROUNDING
    other = spec.replace(smooth, "false" if smooth == "true" else "true")
    assert error(run(other, inputs, mask=Causal()).out, expected) > 1e-2


def test_engines_that_run_dot_products_run_it():
    spec, inputs = "position_temperature:start=4", make("scaled_dot")
    expected = set(accepting("scaled_dot", inputs, mask=Causal()))
    assert set(accepting(spec, inputs, mask=Causal())) == expected > {"dense", "blockwise"}


@pytest.mark.parametrize("option", ["rate=-0.1", "start=0"])
def test_options_that_do_not_sharpen_are_refused(option):
    with pytest.raises(Refused, match=r"^position_temperature has .* it sharpens from `start` tokens on; give a rate"):
        run(f"position_temperature:{option}", make("scaled_dot"), mask=Causal())
