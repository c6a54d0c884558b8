"""Which derivatives an engine has, said in words where one is asked for that it has not.

JAX's own words, "can't apply forward-mode autodiff (jvp) to a custom_vjp function", name neither the engine nor a way
out. They come where the program runs or is compiled, after `attend` has returned, so no `except` there meets them. The
identities here are noticed in their place: each is an operation that refuses to be computed, or to be transposed.
"""

from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from attention_jax.base.errors import Refused

_linear = Primitive("attention_derivative")


def reverse_only(array: jax.Array, *, refusal: str) -> jax.Array:
    """Returns the array; forward-mode derivatives (jvp, jacfwd, linearize) of what is made of it are refused."""
    return _same(array, computed=refusal)


def forward_only(array: jax.Array, *, refusal: str) -> jax.Array:
    """Returns the array; reverse-mode derivatives (grad, vjp, jacrev) of what is made of it are refused."""
    return _same(array, transposed=refusal)


def _same(array: jax.Array, *, computed: str | None = None, transposed: str | None = None) -> jax.Array:
    """The array, its tangent by an operation that refuses to be computed, or to be transposed, in these words."""
    same = jax.custom_jvp(lambda array: array)
    same.defjvp(
        lambda primals, tangents: (primals[0], _linear.bind(tangents[0], computed=computed, transposed=transposed))
    )
    return same(array)


def _compute(array: jax.Array, *, computed: str | None, transposed: str | None) -> jax.Array:
    if computed is not None:
        raise Refused(computed)
    return array


def _transpose(cotangent: Any, array: Any, *, computed: str | None, transposed: str | None) -> list[Any]:
    if transposed is not None and not isinstance(cotangent, ad.Zero):
        raise Refused(transposed)
    return [cotangent]


_linear.def_impl(_compute)
_linear.def_abstract_eval(lambda array, **_: array)
ad.deflinear2(_linear, _transpose)
batching.defvectorized(_linear)
mlir.register_lowering(_linear, mlir.lower_fun(_compute, multiple_results=False))
