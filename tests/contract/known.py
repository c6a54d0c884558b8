"""The specs that the oracle knows: all but a user's own."""

from attention_jax.contract.cases import SPECS
from attention_jax.kernels import lookup
from tests.oracle.equations import Whole, equation, known

KNOWN = [spec for spec in SPECS if known(lookup(spec).name)]

# Those that have a naive implementation too, which rounding is measured against: all but whole problems.
NAIVE = [spec for spec in KNOWN if not isinstance(equation(spec), Whole)]
