"""Token mixers by spec: those that own their projections, and around every other attention variant `Attention`."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from attention_jax.base.catalogue import Catalogue
from attention_jax.kernels.source import Source
from attention_jax.kernels.specs import Build, Kind, parse_spec
from attention_jax.layers.attention import Attention
from attention_jax.layers.stack_options import StackOptions

# (options of the stack, number of the layer, from 1, name) -> the module. It is called as `Attention` is.
MakeMixer = Callable[..., nn.Module]

MIXERS = Kind("mixer", Catalogue("mixer", "attention_jax.layers.mixers"), example="mla")


def register_mixer(*, source: Source, claims: Any = None, aliases: tuple[str, ...] = ()) -> Callable[[Build], Build]:
    """Registers the decorated function, which returns a `MakeMixer`, by its name: see `Kind.register`.

    Raises:
      Refused: another mixer has the name.
    """
    return MIXERS.register(source=source, claims=claims, aliases=aliases)


def mixer(spec: str, options: StackOptions, layer: int) -> nn.Module:
    """Returns the module that mixes the tokens of a layer, named "attention".

    Args:
      spec: of a mixer, or of an attention variant.
      options: of the stack.
      layer: its number, from 1.

    Raises:
      Refused: the spec is wrong.
    """
    if is_mixer(spec):
        return MIXERS.choose(spec).made(options=options, layer=layer, name="attention")
    return Attention(spec, options, layer=layer, name="attention")


def is_mixer(spec: str) -> bool:
    """Returns whether a spec is of a mixer with its own projections, and not of an attention variant."""
    return parse_spec(spec, what="mixer", example=MIXERS.example)[0] in MIXERS.catalogue.names()
