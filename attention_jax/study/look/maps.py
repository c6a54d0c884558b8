"""Attention maps of a model on one input, layer by layer, and what is measured on them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Float

from attention_jax.layers import StackOptions
from attention_jax.layers.attention import LOOKED_AT


@dataclass(frozen=True)
class Map:
    """The attention of one layer.

    Attributes:
      stack: "encoder", "decoder", or "" of a model with one stack.
      cross: whether it looks at a memory.
      layer: its number, from 1.
      variant: its spec.
      weights: [N, T, S], of each head; None where the variant forms none, or a mixer owns its projections.
      shares: [N, T, S], how much of each value is in each output, of a variant that forms no weights; None where that
        cannot be told.
      told: name -> [N, T], what such a variant has of each token: the norm of its state, its gates.
    """

    stack: str
    cross: bool
    layer: int
    variant: str
    weights: Float[np.ndarray, "N T S"] | None
    shares: Float[np.ndarray, "N T S"] | None = None
    told: Mapping[str, Float[np.ndarray, "N T"]] = field(default_factory=dict)

    @property
    def part(self) -> str:
        """The part of the model, such as "decoder cross-attention"."""
        return " ".join(filter(None, (self.stack, "cross-attention" if self.cross else "self-attention")))


def attention_maps(model: nn.Module, variables: Mapping[str, Any], arrays: Mapping[str, Any]) -> list[Map]:
    """Returns the attention of each layer of a model on one example, in the order of its parts.

    Args:
      model: a Flax module whose blocks are those of `layers.Stack`.
      variables: its weights.
      arrays: what it is called with, by name, each [1, ...].
    """
    if not any(stacks(model)):
        return []
    apply = jax.jit(lambda variables, arrays: model.apply(variables, **arrays, mutable=[LOOKED_AT]))
    sown = jax.device_get(apply(variables, arrays)[1]).get(LOOKED_AT, {})

    def looked_at(name: str, options: StackOptions, cross: bool, layer: int, variant: str) -> Map:
        found = _found(sown.get(f"{name}_stack", {}) if name else sown, options, layer, cross)
        weights, shares = found.pop("weights", None), found.pop("shares", None)
        return Map(name, cross, layer, variant, weights, shares, found)

    return [
        looked_at(name, options, cross, layer, variant)
        for name, options in stacks(model)
        for cross in (False, True)
        for layer, variant in _layers(options, cross)
    ]


def stacks(model: nn.Module) -> Iterator[tuple[str, StackOptions]]:
    """Yields the stacks of a model, as the fields that hold their options name them; one alone has no name."""
    for name in ("stack", "encoder", "decoder"):
        options = getattr(model, name, None)
        if isinstance(options, StackOptions):
            yield ("" if name == "stack" else name), options


def _layers(options: StackOptions, cross: bool) -> Iterator[tuple[int, str]]:
    for layer in range(1, options.num_layers + 1):
        variant = options.cross_attention if cross else options.of_layer("attention", layer)
        if variant is not None:
            yield layer, variant


def _found(sown: Mapping[str, Any], options: StackOptions, layer: int, cross: bool) -> dict[str, np.ndarray]:
    """Returns what was sown of a layer, each array that of the one row."""
    of_group = options.num_layers // (options.layer_groups or options.num_layers)
    group, place = divmod(layer - 1, of_group)
    block = sown.get("blocks" if options.scan_layers else f"block_{group}", {})
    found = block.get("cross_attention" if cross else "attention", {})
    if options.scan_layers:
        return {name: np.asarray(arrays[0][layer - 1, 0]) for name, arrays in found.items()}
    return {name: np.asarray(arrays[place][0]) for name, arrays in found.items()}


def entropies(weights: Float[np.ndarray, "N T S"]) -> Float[np.ndarray, " N"]:
    """Returns the entropy of the weights of each head, in nats, the mean over the queries."""
    logs = np.log(np.where(weights > 0, weights, 1))
    return -(weights * logs).sum(-1).mean(-1)


def mean_distances(weights: Float[np.ndarray, "N T T"], places: Float[np.ndarray, "T d"]) -> Float[np.ndarray, " N"]:
    """Returns how far each head looks: the distance of a query to a key, weighted, the mean over the queries.

    Args:
      weights: [N, T, T].
      places: where each token stands; NaN for one that stands nowhere, such as a class token, which does not count.
    """
    somewhere = ~np.isnan(places).any(-1)
    weights, places = weights[:, somewhere][:, :, somewhere], places[somewhere]
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    totals = np.maximum(weights.sum(-1), np.finfo(np.float32).tiny)
    return ((weights * distances).sum(-1) / totals).mean(-1)


def rollout(layers: Sequence[Float[np.ndarray, "N T T"]]) -> Float[np.ndarray, "T T"]:
    """Returns how much of each token's last vector is of each token's first one.

    Each layer passes on half by its residual and half by the mean of its heads: Abnar & Zuidema 2020, Quantifying
    Attention Flow in Transformers, section 3.

    Args:
      layers: the weights of each, from the first.
    """
    flow = np.eye(layers[0].shape[-1])
    for weights in layers:
        passed = 0.5 * weights.mean(0) + 0.5 * np.eye(len(flow))
        flow = passed / passed.sum(-1, keepdims=True) @ flow
    return flow
