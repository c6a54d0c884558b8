"""The JAX that computes wrong numbers, and its refusal before a number is computed."""

import functools

import jax
import jax.lib

from attention_jax.base.errors import Refused

# On a CPU a compiled vmap of a matrix-vector product with a sum is wrong from 32769 rows on, and sums of arrays of rank
# 7 and 8 end the process. 0.10.1 and 0.11.2 are right (tests/test_jax.py).
WRONG_ON_CPUS = "0.10.2"


@functools.cache
def check_jax() -> None:
    """Checks that the JAX of this process computes right numbers on its default backend; looks once.

    To be called where something is computed and never at import: with the version that is wrong it asks for the
    backend, which starts it, and a backend that runs can no longer be told its devices or joined to other processes.

    Raises:
      Refused: jax or jaxlib 0.10.2 would compute on a CPU.
    """
    if WRONG_ON_CPUS not in (jax.__version__, jax.lib.__version__) or jax.default_backend() != "cpu":
        return
    raise Refused(
        f"jax {WRONG_ON_CPUS} computes wrong numbers on CPUs (jax issues 39103, 39257 and 40412): run "
        "`pip install jax==0.10.1`, or `pip install jax==0.11.2` on Python 3.12 and later."
    )
