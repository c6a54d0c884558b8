"""A model whose layers are scanned over, with a block and a state for each of them: the same, and faster to decode.

A scan keeps short what is compiled, and training does not feel it. One token through it cuts each weight out of its
stack and puts each cache back into one: a copy of all weights and of the whole state at each step (decisions.md has
the figures).
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import flax.linen as nn
import jax

from attention_jax.layers import StackOptions


def unscanned(model: nn.Module, variables: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """Returns a model that computes the same, none of its stacks scanned over, and its variables.

    Args:
      model: one that holds the options of its stacks as fields; others come back as they are.
      variables: its collections.
    """
    scanned: dict[str, Any] = {
        field.name: replace(options, scan_layers=False)
        for field in fields(model)
        if isinstance(options := getattr(model, field.name), StackOptions) and options.scan_layers
    }
    if not scanned:
        return model, dict(variables)
    return model.clone(**scanned), {name: _taken_apart(tree) for name, tree in variables.items()}


def _taken_apart(tree: Any) -> Any:
    """A tree in which "blocks", of all layers, is "block_0", "block_1" and so on."""
    if not isinstance(tree, Mapping):
        return tree
    found = {name: _taken_apart(inner) for name, inner in tree.items() if name != "blocks"}
    if "blocks" in tree:
        layers = len(jax.tree.leaves(tree["blocks"])[0])
        found |= {
            f"block_{layer}": jax.tree.map(lambda leaf, at=layer: leaf[at], tree["blocks"]) for layer in range(layers)
        }
    return found
