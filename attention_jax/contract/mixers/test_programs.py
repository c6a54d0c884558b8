"""Programs: derivatives, bfloat16, blocks that are scanned over, and where parameters lie on a mesh."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from jax.sharding import AbstractMesh, PartitionSpec

from attention_jax.contract.cases import AGREEMENT, error, quick_jit
from attention_jax.contract.mixers.cases import (
    SPECS,
    WEIGHING,
    make,
    mixed_and_gradients,
    module_for,
    one_way,
    options_for,
    padded,
    takes,
)
from attention_jax.layers import Seen, Stack
from attention_jax.layers.paths import path_of
from attention_jax.layers.spread import AXES
from attention_jax.layers.stack import PARAMETER_RULES
from attention_jax.training.parallel.rules import parameter_specs


def seen_by(spec):
    """Padding where the mixer takes it."""
    return padded(spec) if takes(spec, "Padding") else Seen(one_way(spec))


@pytest.mark.wide
@pytest.mark.parametrize("spec", SPECS)
def test_derivatives_of_first_order_equal_finite_differences(spec):
    with jax.enable_x64(True):
        tree = jax.tree.map(lambda array: jnp.asarray(np.asarray(array, np.float64)), make(spec))
        start, unravel = ravel_pytree(tree)
        direction = jnp.asarray(np.random.default_rng(2).normal(size=start.shape))
        direction /= jnp.linalg.norm(direction)
        module = module_for(spec, dtype="float64")

        def loss(flat):
            inputs, variables = unravel(flat)
            return (module.apply(variables, inputs, seen_by(spec)).out * WEIGHING).sum()

        value_and_gradient, step = quick_jit(jax.value_and_grad(loss)), 1e-5
        (after, _), (before, _) = (value_and_gradient(start + sign * step * direction) for sign in (1, -1))
        slope = (after - before) / (2 * step)
        np.testing.assert_allclose(value_and_gradient(start)[1] @ direction, slope, rtol=1e-6)


@pytest.mark.parametrize("spec", SPECS)
def test_every_parameter_learns(spec):
    inputs, variables = make(spec)
    _, (_, gradients) = mixed_and_gradients(spec, inputs, variables, Seen(one_way(spec)), WEIGHING)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        # What is the same for all keys is nothing to a softmax.
        if not path_of(path).endswith("key/bias"):
            assert np.abs(gradient).max() > 1e-4, path_of(path)


@pytest.mark.parametrize("spec", SPECS)
def test_bfloat16_computes_in_it_and_keeps_float32_parameters(spec):
    inputs, variables = make(spec)
    half = module_for(spec, dtype="bfloat16")
    out = quick_jit(lambda variables: half.apply(variables, inputs.astype("bfloat16"), seen_by(spec)).out)(variables)
    exact, _ = mixed_and_gradients(spec, inputs, variables, seen_by(spec), WEIGHING)
    assert out.dtype == jnp.bfloat16
    assert error(out, exact) < 0.1
    drawn = jax.eval_shape(lambda: half.init(jax.random.key(0), inputs.astype("bfloat16"), seen_by(spec)))
    assert {leaf.dtype for leaf in jax.tree.leaves(drawn)} <= {jnp.dtype(jnp.float32)}


class Blocks(nn.Module):
    """A stack of two blocks of a mixer."""

    spec: str
    scan_layers: bool

    @nn.compact
    def __call__(self, inputs, seen):
        """The hidden states of the last block."""
        return Stack(options_for(self.spec, scan_layers=self.scan_layers), name="stack")(inputs, seen).hidden


@pytest.mark.wide
@pytest.mark.parametrize("spec", SPECS)
def test_blocks_that_are_scanned_over_are_the_same(spec):
    inputs, seen = make(spec)[0], Seen(one_way(spec))
    scanned, plain = Blocks(spec, True), Blocks(spec, False)
    shapes = jax.eval_shape(lambda: scanned.init(jax.random.key(0), inputs, seen))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype), shapes)
    each = {
        name: {
            "stack": {
                f"block_{layer}": jax.tree.map(lambda leaf, at=layer: leaf[at], of["stack"]["blocks"])
                for layer in range(2)
            }
        }
        for name, of in variables.items()
    }
    left, right = (
        quick_jit(lambda variables, module=module: module.apply(variables, inputs, seen))(given)
        for module, given in ((scanned, variables), (plain, each))
    )
    assert error(left, right) < 2 * AGREEMENT


@pytest.mark.parametrize("spec", SPECS)
def test_every_parameter_has_its_place_on_a_mesh(spec):
    mesh = AbstractMesh((1, 2, 2, 1), AXES)
    params = {"block_0": {"attention": make(spec)[1].get("params", {}).get("attention", {})}}
    specs = parameter_specs(params, model_rules=PARAMETER_RULES, rules=(), mesh=mesh)
    found = jax.tree.leaves(specs, is_leaf=lambda leaf: isinstance(leaf, PartitionSpec))
    assert len(found) == len(jax.tree.leaves(params))
    assert any(any(one) for one in found) or not found
