"""How the tests run: XLA compiles fast, and every array in the kernels is checked against its annotated shape.

The conftest.py of each folder of tests imports it, before anything imports the kernels.
"""

import gc
import inspect
import itertools
import os
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jaxtyping
import pytest
from beartype import beartype

# The hooks, for every conftest.py.
__all__ = [
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_runtest_teardown",
    "pytest_xdist_node_collection_finished",
]

# Most tests wait for the compiler, not for what it makes. XLA's passes all run; LLVM's optimiser does not, nor what
# writes fused loops for it at length, and a program is not cut into 32 modules for as many threads. All flags together
# take compiling to a fifth; XLA takes names that it does not know for the second, so it may end with a version.
COMPILE_FAST = " ".join(
    (
        "--xla_backend_optimization_level=0",
        "--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters",
        "--xla_cpu_parallel_codegen_split_count=1",
    )
)


def pytest_configure(config: pytest.Config) -> None:
    """Sets the flags for the tests and the commands they start, but not for `-m long`, whose runs take minutes.

    `XLA_FLAGS= pytest` compiles everything as a user's program is compiled.
    """
    if config.option.markexpr != "long":
        os.environ.setdefault("XLA_FLAGS", COMPILE_FAST)


# Before pytest-xdist's own, which reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the contract's lines of one variant of each rule, and of none, for `make test-engines`.

    And for `--dist loadgroup`: all lines of one spec share their programs, and so the process that compiles them; the
    tests of another file share what they set up.
    """
    from attention_jax.contract.cases import STANDING

    for item in items:
        held = "contract" in item.path.parts
        spec = vars(item)["callspec"].params.get("spec") if held and "callspec" in vars(item) else None
        if held and (spec is None or spec in STANDING):
            item.add_marker(pytest.mark.one_of_each_engine)
        if config.pluginmanager.hasplugin("xdist"):
            item.add_marker(pytest.mark.xdist_group(spec or str(item.path)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Refuses to go on where `--dist loadgroup` groups nothing: every process would set up and compile everything.

    pytest-xdist 3.8 hands a group on in the name of a test, which pytest 9.2 no longer lets it change
    (https://github.com/pytest-dev/pytest-xdist/issues/1386).
    """
    if node.config.option.dist == "loadgroup" and not all("@" in name for name in ids):
        raise pytest.UsageError("this pytest-xdist groups no tests on this pytest: take those of requirements.txt")


def pytest_collection_finish() -> None:
    """Has the garbage collector leave alone what lives as long as the tests: tracing makes it look again and again."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


# A program takes about ten mappings of memory, and Linux gives a process 65530: XLA aborts when there are no more.
MOST_MAPPINGS = 40_000
# Between two looks at how many there are.
TESTS_BETWEEN = 20
_seen = itertools.count(1)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Forgets what was compiled, before there is so much of it that no more can be."""
    maps = Path("/proc/self/maps")
    if next(_seen) % TESTS_BETWEEN or not maps.exists():
        return
    with maps.open("rb") as lines:
        mappings = sum(1 for _ in lines)
    if mappings > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()


# `attend` itself is left out: it meets wrong shapes with a refusal, which is tested.
CHECKED = ("dropout", "engines", "mask", "mask_algebra", "match_score", "mechanism", "problem", "variants")
CHECKED += ("pairs", "pooling")


def check_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `function` with its shape annotations checked at each call.

    Constructors are left alone: JAX rebuilds a pytree with whatever it likes at the leaves.
    """
    if function.__name__ == "__init__":
        return function
    function.__annotations__ = {
        name: hint if _has_shape(hint) else Any for name, hint in function.__annotations__.items()
    }
    return beartype(function)


def _has_shape(hint: Any) -> bool:
    if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(_has_shape(part) for part in typing.get_args(hint))


jaxtyping.install_import_hook([f"attention_jax.kernels.{name}" for name in CHECKED], f"{__name__}.check_shapes")
