"""The kinds of mechanisms that are chosen by spec, and of which one a spec is."""

from pathlib import Path

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.kernels.attend_pair import PAIRS
from attention_jax.kernels.pool import POOLINGS
from attention_jax.kernels.position import POSITIONS
from attention_jax.kernels.registry import VARIANTS
from attention_jax.kernels.specs import Kind, defined_in, definition_of, parse_spec
from attention_jax.layers.mixer import MIXERS

KINDS: tuple[Kind, ...] = (VARIANTS, MIXERS, POSITIONS, POOLINGS, PAIRS)


def kind_of(spec: str) -> Kind:
    """Returns the kind that a spec is of.

    Raises:
      Refused: there is nothing of that name, or the spec is none.
    """
    name, _ = parse_spec(spec)
    catalogued = {name: kind for kind in reversed(KINDS) for name in kind.catalogue.names()}
    if ".py:" not in name:
        if name not in catalogued:
            raise Refused(f"there is nothing called {name!r}.{did_you_mean(name, catalogued)}")
        return catalogued[name]
    path, _, name = name.rpartition(":")
    builds = defined_in(Path(path), name, what=VARIANTS.name.split()[0])
    if name not in builds:
        raise Refused(f"{path} registers no attention {name!r}; it registers: {', '.join(builds) or 'none'}.")
    return next(kind for kind in KINDS if kind.name == definition_of(builds[name]).kind)
