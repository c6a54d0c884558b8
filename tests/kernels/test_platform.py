"""Which device the program is for, and whether the compiler may split it."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from attention_jax.kernels.engines import platform


def gpu(version):
    return SimpleNamespace(platform="gpu", client=SimpleNamespace(platform_version=version), compute_capability="8.6")


@pytest.mark.parametrize(
    ("device", "name"),
    [(gpu("cuda 12080"), "cuda"), (gpu("PJRT C API rocm 60200"), "rocm"), (SimpleNamespace(platform="tpu"), "tpu")],
)
def test_a_gpu_is_named_by_its_maker(device, name, monkeypatch):
    monkeypatch.setattr(platform, "get_default_device", lambda: device)
    assert platform.name() == name


def test_the_generation_of_a_gpu_compares_as_numbers(monkeypatch):
    monkeypatch.setattr(platform, "get_default_device", lambda: gpu("cuda"))
    assert platform.compute_capability() == (8, 6) < (10, 0)


def test_the_default_device_counts_where_one_is_set():
    with jax.default_device(jax.devices("cpu")[0]):
        assert platform.name() == "cpu"


def test_the_compiler_splits_what_is_for_several_devices_and_not_in_a_shard_map(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    assert not platform.split_by_compiler()
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    assert platform.split_by_compiler()
    mesh, specs = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,)), jax.sharding.PartitionSpec()
    seen = []

    def record(array):
        seen.append(platform.split_by_compiler())
        return array

    jax.jit(jax.shard_map(record, mesh=mesh, in_specs=specs, out_specs=specs))(jnp.ones(2))
    assert seen == [False]
