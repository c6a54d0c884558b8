"""What `jax.debug_nans` looks for, in one compiled program: operation by operation it compiles each of them."""

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from attention_jax.contract.cases import quick_jit


def operations_that_give_nan(function: Callable[..., Any], *arguments: Any) -> list[str]:
    """Returns the operations of a function, in their order, that make NaN of what holds none, for these arguments."""
    traced = jax.make_jaxpr(function)(*arguments)
    names: list[str] = []

    def look(*flat: Any) -> list[jax.Array]:
        names.clear()
        found: list[jax.Array] = []
        _evaluate(traced.jaxpr, traced.consts, flat, names, found)
        return found

    found = quick_jit(look)(*jax.tree.leaves(arguments))
    return [name for name, is_nan in zip(names, found, strict=True) if is_nan]


# They hand on what they are given, NaN or not.
MOVING = {
    "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "dynamic_slice", "dynamic_update_slice",
    "expand_dims", "gather", "pad", "reshape", "rev", "select_n", "slice", "squeeze", "stop_gradient", "transpose",
}  # fmt: skip


def _evaluate(jaxpr: Jaxpr, consts: Any, flat: Any, names: list[str], found: list[jax.Array]) -> list[Any]:
    """Runs a program; notes the name of each operation, and whether it made NaN. A loop is one operation."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *flat], strict=True))
    holding: dict[int, jax.Array] = {}

    def holds_nan(arrays: list[Any]) -> jax.Array:
        real = [array for array in arrays if jnp.issubdtype(jnp.result_type(array), jnp.inexact)]
        for array in real:
            if id(array) not in holding:
                holding[id(array)] = jnp.isnan(array).any()
        return reduce(or_, (holding[id(array)] for array in real), jnp.array(False))

    for equation in jaxpr.eqns:
        inputs = [of.val if isinstance(of, Literal) else values[of] for of in equation.invars]
        inner = equation.params.get("jaxpr") if equation.primitive.name in ("jit", "pjit") else None
        if isinstance(inner, ClosedJaxpr):
            outs = _evaluate(inner.jaxpr, inner.consts, inputs, names, found)
        else:
            outs = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(equation.params))
            outs = outs if equation.primitive.multiple_results else [outs]
            if equation.primitive.name not in MOVING:
                names.append(equation.primitive.name)
                found.append(holds_nan(outs) & ~holds_nan(inputs))
        values.update(zip(equation.outvars, outs, strict=True))
    return [of.val if isinstance(of, Literal) else values[of] for of in jaxpr.outvars]
