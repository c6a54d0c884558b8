"""A user's score function: traced once, evaluated for any pair, smooth where the mask hides the pair.

A mask comes after the score function, and in reverse mode the cotangent 0 of a hidden pair is multiplied by the
function's derivative there. log1p(i - j) has none above the diagonal, exp(j - i) overflows far beyond it, and 0 times
infinity is NaN, which would reach every array the function has to do with. So each operation on a hidden pair is given
1/2 in place of its floating inputs: it is finite there and so is its derivative, whatever the operation.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal
from jaxtyping import Array, Bool, Num

from attention_jax.base.errors import Refused

ScoreMod = Callable[[Array, Array, Array, Array, Array], Array]

_HARMLESS = 0.5
# The operations that have no value at 1/2, with a number at which they and their derivatives have one.
_HARMLESS_OF = {"acosh": 2.0}
# Operations that hold a whole function, which is then evaluated in the same way.
_CALLS = ("jit", "pjit", "closed_call", "core_call", "remat", "checkpoint")
# Loops: what they start from is replaced, whole numbers too, and not what happens inside.
_LOOPS = ("while", "scan")


def trace(score_mod: ScoreMod, dtype: jnp.dtype) -> tuple[Any, tuple[Array, ...]]:
    """Traces a score function, so that the arrays it closes over become inputs that have gradients.

    Args:
      score_mod: (score, batch, head, query position, key position), all scalars, -> the new score.
      dtype: of the score.

    Returns:
      The traced function and the captured arrays.

    Raises:
      Refused: it does not return one number.
    """
    index = jax.ShapeDtypeStruct((), jnp.int32)
    # The function itself and nothing around it, so that JAX knows one that it has traced before.
    closed = jax.make_jaxpr(score_mod)(jax.ShapeDtypeStruct((), dtype), index, index, index, index)
    if len(closed.out_avals) != 1 or not _is_score(closed.out_avals[0]):
        returned = [(value.shape, value.dtype) for value in closed.out_avals]
        raise Refused(
            f"score_mod returns {returned} for one score: write it for one pair, (score, b, h, q_pos, k_pos) -> score."
        )
    return closed.jaxpr, tuple(jnp.asarray(array) for array in closed.consts)


def _is_score(value: Any) -> bool:
    """Whether it is one floating number, or a whole one that stands in the function's own text."""
    whole = jnp.issubdtype(value.dtype, jnp.integer) and value.weak_type
    return value.shape == () and (whole or jnp.issubdtype(value.dtype, jnp.floating))


def evaluate(
    jaxpr: Any, captures: Sequence[Array], place: Sequence[Num[Array, ""]], visible: Bool[Array, ""] | None
) -> Num[Array, ""]:
    """Returns the score of one pair.

    Args:
      jaxpr: the traced function.
      captures: the arrays it closes over.
      place: its arguments.
      visible: whether the mask leaves the pair; None where that is not to be looked at.
    """
    of_pair = [True] * len(place)
    (result,), _ = _evaluate(jaxpr, captures, place, of_pair, visible)
    return _shown(jnp.asarray(result), True, visible)


def _evaluate(
    jaxpr: Any, consts: Sequence[Array], inputs: Sequence[Any], of_pair: Sequence[bool], visible: Array | None
) -> tuple[list[Any], list[bool]]:
    """Returns the outputs of a jaxpr, and which of them depend on the pair: captured arrays stay as they are."""
    values: dict[Any, tuple[Any, bool]] = {
        **{variable: (const, False) for variable, const in zip(jaxpr.constvars, consts, strict=True)},
        **dict(zip(jaxpr.invars, zip(inputs, of_pair, strict=True), strict=True)),
    }

    def read(atom: Any) -> tuple[Any, bool]:
        return (atom.val, False) if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        results, depend = _operation(equation, operands, visible)
        values.update(zip(equation.outvars, zip(results, depend, strict=True), strict=True))
    outputs = [read(atom) for atom in jaxpr.outvars]
    return [value for value, _ in outputs], [depends for _, depends in outputs]


def _operation(equation: Any, operands: list[tuple[Any, bool]], visible: Array | None) -> tuple[list[Any], list[bool]]:
    name, params = equation.primitive.name, equation.params
    given, of_pair = [value for value, _ in operands], [depends for _, depends in operands]
    if name in _CALLS and "jaxpr" in params:
        inner = params["jaxpr"]
        return _evaluate(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), given, of_pair, visible)
    depend = [any(of_pair)] * len(equation.outvars)
    if name == "cond":
        branches = [_branch(branch, of_pair[1:], visible) for branch in params["branches"]]
        return jax.lax.switch(given[0], branches, *given[1:]), depend
    harmless = _HARMLESS_OF.get(name, _HARMLESS)
    whole = name in _LOOPS
    given = [_shown(value, depends, visible, harmless, whole=whole) for value, depends in operands]
    results = equation.primitive.bind(*given, **equation.primitive.get_bind_params(params))
    return (results if equation.primitive.multiple_results else [results]), depend


def _branch(branch: Any, of_pair: Sequence[bool], visible: Array | None) -> Callable[..., list[Any]]:
    return lambda *operands: _evaluate(branch.jaxpr, branch.consts, operands, of_pair, visible)[0]


def _shown(
    value: Any, of_pair: bool, visible: Array | None, harmless: float = _HARMLESS, *, whole: bool = False
) -> Any:
    """Returns a value as it is for a visible pair, and a harmless one for a hidden pair."""
    if visible is None or not of_pair:
        return value
    dtype = jnp.result_type(value)
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.where(visible, value, jnp.asarray(harmless, dtype))
    return jnp.where(visible, value, jnp.zeros((), dtype)) if whole else value
