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


def _evaluate(jaxpr: Jaxpr, consts: Any, flat: Any, names: list[str], found: list[jax.Array]) -> list[Any]:
    """Runs a program; notes the name of each operation, and whether it made NaN. A loop is one operation."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *flat], strict=True))
    for equation in jaxpr.eqns:
        inputs = [of.val if isinstance(of, Literal) else values[of] for of in equation.invars]
        inner = equation.params.get("jaxpr") if equation.primitive.name in ("jit", "pjit") else None
        if isinstance(inner, ClosedJaxpr):
            outs = _evaluate(inner.jaxpr, inner.consts, inputs, names, found)
        else:
            outs = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(equation.params))
            outs = outs if equation.primitive.multiple_results else [outs]
            before, after = (reduce(or_, map(_holds_nan, arrays), jnp.array(False)) for arrays in (inputs, outs))
            names.append(equation.primitive.name)
            found.append(after & ~before)
        values.update(zip(equation.outvars, outs, strict=True))
    return [of.val if isinstance(of, Literal) else values[of] for of in jaxpr.outvars]


def _holds_nan(array: Any) -> jax.Array:
    return jnp.isnan(array).any() if jnp.issubdtype(jnp.result_type(array), jnp.inexact) else jnp.array(False)
