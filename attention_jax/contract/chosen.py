"""Which specs of a kind the tests go through: its own in the library, or those of ATTENTION_JAX_VARIANTS."""

import os

from attention_jax.kernels.specs import Kind, split_specs
from attention_jax.layers.kinds import kind_of


def chosen_specs(kind: Kind) -> list[str]:
    """Returns the specs of a kind that are asked for, or of every one that the library has.

    Of those, a spec with the options that make it do at few tokens what it is for, by its claim `tried`.
    """
    asked = split_specs(os.environ.get("ATTENTION_JAX_VARIANTS", ""))
    if asked:
        return [spec for spec in asked if kind_of(spec) is kind]
    return [kind.choose(name).claims.tried or name for name in kind.catalogue.names()]
