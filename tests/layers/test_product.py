"""The product of the dense layers: what `lax.dot_general` gives, its gradient in the form that is fast on a CPU."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from attention_jax.contract.cases import quick_jit
from attention_jax.kernels.engines import platform
from attention_jax.layers.product import product

# Inputs, kernel and how many axes are summed over; a kernel that narrows and one that widens.
SHAPES = {
    "narrower": ((2, 3, 6), (6, 4), 1),
    "wider": ((2, 3, 4), (4, 6), 1),
    "to heads": ((2, 3, 4), (4, 2, 3), 1),
    "from heads": ((2, 3, 2, 4), (2, 4, 5), 2),
    "rows alone": ((5, 4), (4, 3), 1),
}


def arrays(name):
    inputs, kernel, count = SHAPES[name]
    rng = np.random.default_rng(0)
    drawn = (jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in (inputs, kernel))
    summed = tuple(range(len(inputs) - count, len(inputs)))
    return *drawn, ((summed, tuple(range(count))), ((), ()))


@pytest.mark.parametrize("name", SHAPES)
def test_the_product_and_its_derivatives_of_two_orders_are_those_of_lax(name):
    inputs, kernel, dimensions = arrays(name)

    def all_of(multiply):
        def loss(inputs, kernel):
            return jnp.sum(jnp.sin(multiply(inputs, kernel, dimensions, precision=None)))

        both = jax.grad(loss, argnums=(0, 1))
        forward = jax.jvp(both, (inputs, kernel), (inputs, kernel))
        backward = jax.grad(lambda *given: sum(jnp.sum(x**2) for x in both(*given)), argnums=(0, 1))(inputs, kernel)
        return multiply(inputs, kernel, dimensions, precision=None), forward, backward

    for ours, theirs in zip(
        jax.tree.leaves(quick_jit(lambda: all_of(product))()),
        jax.tree.leaves(quick_jit(lambda: all_of(lax.dot_general))()),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def lowered(inputs, kernel, dimensions, **options):
    def loss(kernel):
        return jnp.sum(jnp.sin(product(inputs, kernel, dimensions, **options)))

    return jax.jit(jax.grad(loss)).lower(kernel).as_text()


@pytest.mark.parametrize(("name", "barriers"), [("narrower", 1), ("wider", 0), ("from heads", 1)])
def test_the_gradient_of_a_kernel_that_narrows_is_transposed_behind_a_barrier(name, barriers):
    assert lowered(*arrays(name)).count("optimization_barrier") == barriers


def test_an_option_is_honoured_and_in_half_precision_or_elsewhere_than_on_a_cpu_it_is_lax(monkeypatch):
    assert "HIGHEST" in lowered(*arrays("narrower"), precision=lax.Precision.HIGHEST)
    inputs, kernel, dimensions = arrays("narrower")
    halves = inputs.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    assert "optimization_barrier" not in lowered(*halves, dimensions)
    monkeypatch.setattr(platform, "name", lambda: "cuda")
    assert "optimization_barrier" not in lowered(*arrays("narrower"))


def test_where_tokens_are_spread_rows_stay_two_axes():
    mesh = jax.sharding.AbstractMesh((1, 1, 1, 2), ("data", "fsdp", "tensor", "sequence"))
    inputs, kernel, dimensions = arrays("narrower")
    with jax.sharding.use_abstract_mesh(mesh):
        assert "reshape" not in str(jax.make_jaxpr(lambda x: product(x, kernel, dimensions))(inputs))
    assert "reshape" in str(jax.make_jaxpr(lambda x: product(x, kernel, dimensions))(inputs))


def test_flax_layers_take_it_and_vmap_goes_through():
    inputs, kernel, _ = arrays("narrower")
    layer = nn.Dense(4, use_bias=False, dot_general=product)

    def loss(row):
        return jnp.sum(layer.apply({"params": {"kernel": kernel}}, row) ** 2)

    expected = 2 * (inputs @ kernel) @ kernel.T
    np.testing.assert_allclose(jax.vmap(jax.grad(loss))(inputs), expected, rtol=1e-4, atol=1e-5)
