"""The count of a step's work: by hand, by XLA where there is no loop, and where XLA's own count goes wrong."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from attention_jax.training import Experiment
from attention_jax.training.flops import PEAKS, Flops, count_flops, peak_flops
from tests.training import tiny

MATRIX = jnp.ones((8, 8))
ONE = 2 * 8**3


def counted(function: Any, *arguments: Any) -> Flops:
    return count_flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def by_xla(function: Any, *arguments: Any) -> float:
    return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]


def chain(matrix: jax.Array) -> jax.Array:
    return jax.lax.scan(lambda carried, _: (carried @ matrix, None), matrix, None, length=5)[0]


@jax.custom_vjp
def squared(matrix):
    return matrix @ matrix


squared.defvjp(lambda matrix: (matrix @ matrix, matrix), lambda kept, given: (given @ kept.T + kept.T @ given,))


@pytest.mark.parametrize(
    ("function", "products"),
    [
        (lambda x: x @ x, 1),
        (lambda x: jax.jit(lambda y: y @ y)(x) @ x, 2),
        (chain, 5),
        (lambda x: jax.lax.fori_loop(0, 3, lambda _, y: chain(y), x), 15),
        (lambda x: jax.lax.cond(x[0, 0] > 0, lambda y: y @ y @ y, lambda y: y, x), 2),
        (squared, 1),
        (jax.grad(lambda x: jnp.sum(squared(x))), 3),
        (jax.grad(lambda x: jnp.sum(jnp.sin(x @ x))), 3),
        (jax.grad(lambda x: jnp.sum(jnp.sin(jnp.sin(x @ x) @ x))), 6),
        # Rematerialised: the products of the forward pass are done once more.
        (jax.grad(lambda x: jnp.sum(jax.checkpoint(lambda y: jnp.sin(jnp.sin(y @ y) @ y))(x))), 8),
        (jax.vmap(lambda row: row @ MATRIX), 1),
        (jnp.sin, 0),
    ],
)
def test_products_are_counted_as_often_as_they_are_done(function, products):
    assert counted(function, MATRIX) == Flops(products * ONE)


def test_xla_counts_the_body_of_a_loop_once():
    assert by_xla(chain, MATRIX) < 2 * ONE < counted(chain, MATRIX).count


def test_a_loop_of_unknown_length_counts_once_and_is_said():
    def power(matrix, times):
        return jax.lax.fori_loop(0, times, lambda _, carried: carried @ matrix, matrix)

    assert counted(power, MATRIX, 3) == Flops(ONE, complete=False)
    # One without a product hides nothing.
    assert counted(lambda x, n: jax.lax.fori_loop(0, n, lambda _, y: y + 1, x) @ x, MATRIX, 3) == Flops(ONE)


MESH = AbstractMesh((4, 2), ("data", "tensor"), axis_types=(AxisType.Auto,) * 2)
DATA, TENSOR = PartitionSpec("data"), PartitionSpec("tensor")


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize(("axes", "times"), [(("data",), 1), (("data", "tensor"), 2)])
def test_the_work_of_a_device_counts_for_all_of_them(axes, times, check_vma):
    # Over "tensor" each device does the same.
    spread = jax.shard_map(
        lambda x: x @ x.T, mesh=MESH, axis_names={*axes}, in_specs=DATA, out_specs=DATA, check_vma=check_vma
    )
    assert counted(spread, MATRIX) == Flops(times * ONE // 4)


def test_devices_within_devices_are_counted_once():
    def within(rows):
        return jax.shard_map(lambda x: x @ x.T, axis_names={"tensor"}, in_specs=TENSOR, out_specs=TENSOR)(rows)

    spread = jax.shard_map(within, mesh=MESH, axis_names={"data"}, in_specs=DATA, out_specs=DATA)
    # Each of the 8 devices has one row.
    assert counted(spread, MATRIX) == Flops(8 * 2 * 8)


def test_the_work_of_devices_that_are_given_nothing_is_counted():
    spread = jax.shard_map(lambda: MATRIX @ MATRIX, mesh=MESH, in_specs=(), out_specs=PartitionSpec(), check_vma=False)
    assert counted(spread) == Flops(8 * ONE)


@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": (1, 1), "padding": "VALID"},
        {"window_strides": (2, 2), "padding": "VALID"},
        {"window_strides": (1, 1), "padding": "VALID", "feature_group_count": 4},
    ],
)
def test_convolutions_are_counted_as_by_xla(options):
    groups = options.get("feature_group_count", 1)
    image, kernel = jnp.ones((2, 9, 9, 4)), jnp.ones((3, 3, 4 // groups, 8))

    def convolve(image, kernel):
        return jax.lax.conv_general_dilated(image, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)

    assert counted(convolve, image, kernel).count == by_xla(convolve, image, kernel)


def test_a_network_without_loops_is_counted_as_by_xla():
    weights = [jnp.ones((64, 256)), jnp.ones((256, 256)), jnp.ones((256, 16))]

    def loss(weights, inputs):
        for weight in weights:
            inputs = jax.nn.relu(inputs @ weight)
        return jnp.sum(inputs)

    ours, theirs = (count(jax.grad(loss), weights, jnp.ones((128, 64))) for count in (counted, by_xla))
    # XLA counts the additions and comparisons of the rest too.
    assert ours.count <= theirs <= 1.03 * ours.count


# Width 8, 2 layers, 8 rows of 8 tokens, 16 words at the one that is asked for: forward, and twice as much backward.
LAYER = 3 * 2 * 64 * (12 * 8**2 + 2 * 8 * 8)
LOGITS = 3 * 2 * 8 * 8 * 16


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 2 * LAYER + LOGITS),
        ({"model": {"scan_layers": True}}, 2 * LAYER + LOGITS),
        ({"accumulation": 4}, 2 * LAYER + LOGITS),
    ],
)
def test_the_step_of_a_gpt_is_counted_as_by_hand(changes, expected):
    model = {"attention": "scaled_dot", "num_layers": 2, "dropout_rate": 0.0, **changes.pop("model", {})}
    experiment = Experiment(**tiny.sections(model=model, evaluation={"batch_size": 2}, mesh={"data": 1}, **changes))
    assert experiment.flops_of(experiment.abstract_batch) == Flops(expected)


def device(**facts: Any) -> Any:
    return SimpleNamespace(**facts)


def test_the_peak_is_of_all_devices_and_unknown_where_it_is_not_in_the_table():
    assert peak_flops([device(device_kind="NVIDIA H200", platform="gpu")] * 8) == 8 * PEAKS["NVIDIA H200"]
    assert peak_flops([device(device_kind="NVIDIA B999", platform="gpu")]) is None


def test_the_peak_of_a_cpu_is_measured_once(monkeypatch):
    peak = peak_flops(jax.devices())
    assert peak is not None
    assert 1e6 < peak < 1e15
    monkeypatch.setattr(jax, "jit", None)
    assert peak_flops(jax.devices()) == peak
