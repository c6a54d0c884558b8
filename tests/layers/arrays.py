"""What the tests of layers and models share: random arrays, and a file with two variants that are not causal."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.kernels import registry

NOT_CAUSAL = """
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.registry import Claims, Source, register

@register(source=Source("a test", "none"), claims=Claims(causal="no"))
def bidirectional_only() -> SoftmaxScore:
    return SoftmaxScore()

@register(source=Source("a test", "none"), claims=Claims(causal="approximate"))
def leaky() -> SoftmaxScore:
    return SoftmaxScore()
"""


def changed(model: Any, **options: Any) -> Any:
    """Returns a model with other options of its stack."""
    return model.clone(stack=replace(model.stack, **options))


@contextmanager
def variant_file(folder: Path) -> Iterator[str]:
    """Writes a file that registers `bidirectional_only` and `leaky`, for the time of the context; yields its path."""
    path = folder / "not_causal.py"
    path.write_text(NOT_CAUSAL)
    builders = {name: registry.VARIANTS.catalogue.lookup(name) for name in registry.names()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry.VARIANTS.catalogue, "_builders", builders)
        yield str(path)


def normal(*shape: int, seed: int = 0, stddev: float = 1.0) -> jax.Array:
    """Returns float32 draws from N(0, stddev^2)."""
    return jnp.asarray(stddev * np.random.default_rng(seed).normal(size=shape), jnp.float32)


def randomised(tree: Any, *, stddev: float = 0.5) -> Any:
    """Returns a tree of the same shapes and dtypes with every entry drawn from N(0, stddev^2), biases too."""
    leaves, structure = jax.tree.flatten(tree)
    drawn = [normal(*leaf.shape, seed=seed, stddev=stddev).astype(leaf.dtype) for seed, leaf in enumerate(leaves)]
    return jax.tree.unflatten(structure, drawn)


def apply(module: nn.Module, variables: dict[str, Any], *inputs: Any, **options: Any) -> Any:
    """Returns what a module makes of its inputs, compiled, which takes less time than to run it op by op."""
    return jax.jit(lambda variables: module.apply(variables, *inputs, **options))(variables)


def random_variables(module: nn.Module, *inputs: Any, stddev: float = 0.5, **options: Any) -> dict[str, Any]:
    """Returns variables of a module without running its initialisers: those start biases, and some kernels, at 0."""
    return randomised(jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, **options)), stddev=stddev)
