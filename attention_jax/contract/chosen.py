"""Which specs of a kind the tests go through: its own in the library, or those of ATTENTION_JAX_VARIANTS."""

import os

from attention_jax.kernels.kinds import kind_of
from attention_jax.kernels.specs import Kind, split_specs


def chosen_specs(kind: Kind, small: dict[str, str]) -> list[str]:
    """Returns the specs of a kind that are asked for, or of every one that the library has.

    Args:
      kind: what they are of.
      small: of a name, the spec that does what it is for on few tokens.
    """
    asked = split_specs(os.environ.get("ATTENTION_JAX_VARIANTS", ""))
    if asked:
        return [spec for spec in asked if kind_of(spec) is kind]
    return [small.get(name, name) for name in kind.catalogue.names()]
