"""The seeds there are: what NumPy, scikit-learn and JAX all take."""

from attention_jax.base.errors import Refused

LARGEST_SEED = 2**32 - 1


def check_seed(seed: int, *, name: str) -> None:
    """Checks that everything random can be drawn from a seed.

    Args:
      seed: a whole number.
      name: what the message calls it.

    Raises:
      Refused: it is not within 0 and 2^32 - 1.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise Refused(f"{name}={seed}: give a whole number of at least 0 and at most {LARGEST_SEED} (2^32 - 1).")
