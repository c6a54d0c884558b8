"""The specs that the oracle knows: all but a user's own."""

from attention_jax.contract.cases import SPECS
from attention_jax.kernels import lookup
from tests.oracle.equations import EQUATIONS

KNOWN = [spec for spec in SPECS if lookup(spec).name in EQUATIONS]
