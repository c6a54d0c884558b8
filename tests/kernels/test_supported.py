"""The JAX that computes wrong numbers on a CPU is refused where something is computed, and nowhere else."""

import subprocess
import sys
from collections.abc import Callable

import jax
import jax.lib
import jax.numpy as jnp
import pytest

from attention_jax.kernels import Causal, Refused, attend, explain
from attention_jax.kernels.supported import check_jax

ONES = jnp.ones((1, 4, 1, 2))
# JAX can be told its devices as long as none was asked for.
IMPORTS = """
import jax

jax.__version__ = "0.10.2"
import attention_jax.kernels

jax.config.update("jax_num_cpu_devices", 3)
assert jax.device_count() == 3
try:
    attention_jax.kernels.attend(*[jax.numpy.ones((1, 4, 1, 2))] * 3)
except attention_jax.kernels.Refused as refusal:
    print(refusal)
"""


@pytest.fixture(autouse=True)
def _look_again() -> None:
    check_jax.cache_clear()


@pytest.mark.parametrize("part", [jax, jax.lib])
@pytest.mark.parametrize(
    "compute",
    [check_jax, lambda: attend(ONES, ONES, ONES, mask=Causal()), lambda: explain(ONES, ONES, ONES)],
    ids=["check_jax", "attend", "explain"],
)
def test_it_is_refused_in_one_line_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, part: object, compute: Callable[[], object]
) -> None:
    monkeypatch.setattr(part, "__version__", "0.10.2")
    with pytest.raises(Refused) as caught:
        compute()
    said = str(caught.value)
    assert "\n" not in said
    for words in ("jax 0.10.2", "wrong numbers on CPUs", "39103", "pip install jax==0.10.1", "jax==0.11.2", "3.12"):
        assert words in said
    # A user who mends it in the same process is not refused for what was.
    monkeypatch.undo()
    compute()


@pytest.mark.parametrize(("version", "backend"), [("0.10.2", "gpu"), ("0.10.2", "tpu"), ("0.11.2", "cpu")])
def test_any_other_is_not(monkeypatch: pytest.MonkeyPatch, version: str, backend: str) -> None:
    for part in (jax, jax.lib):
        monkeypatch.setattr(part, "__version__", version)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    check_jax()


def test_a_version_that_is_right_asks_for_no_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in (jax, jax.lib):
        monkeypatch.setattr(part, "__version__", "0.10.1")
    monkeypatch.setattr(jax, "default_backend", None)
    check_jax()


def test_importing_the_kernels_neither_refuses_nor_starts_jax() -> None:
    ran = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("jax 0.10.2 computes wrong numbers")
