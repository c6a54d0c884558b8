"""Every core of a CPU is a device, unless the user has said how many."""

import os

import jax

from attention_jax.training.parallel.host import keep_freed_memory, use_every_core


def test_every_core_is_a_device_unless_the_user_said_how_many(monkeypatch):
    chosen: dict[str, int] = {}
    monkeypatch.setattr(jax.config, "update", chosen.__setitem__)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=3")
    use_every_core()
    assert chosen == {}
    monkeypatch.setenv("XLA_FLAGS", "")
    use_every_core()
    assert chosen == {"jax_num_cpu_devices": len(os.sched_getaffinity(0))}


def test_another_c_library_than_glibc_is_left_alone(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    keep_freed_memory()
