"""Checks, while the tests run, every array in the kernels against the shape its annotation promises."""

import inspect
import typing
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import beartype

# `attend` itself is left out: it meets wrong shapes with a refusal, which is tested.
CHECKED = ("dropout", "engines", "mask", "mask_algebra", "mechanism", "problem", "variants")


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
