"""What `attend` is given, checked: shapes fit, and the variant takes every argument."""

from collections.abc import Iterable
from typing import Any, TypedDict

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.kernels.arrays import Params, Sizes, fitting
from attention_jax.kernels.integers import whole_numbers
from attention_jax.kernels.mask import Segments
from attention_jax.kernels.mask_algebra import Mask, as_mask, conjunction, describe, terms
from attention_jax.kernels.mechanism import statistics_dtype
from attention_jax.kernels.position import encoded
from attention_jax.kernels.problem import OUTPUTS, Problem
from attention_jax.kernels.registry import Variant
from attention_jax.kernels.score_functions import ScoreMod, trace
from attention_jax.kernels.supported import check_jax

# What all engines compute with: float8 has no sums on most devices, and would be rounded without a word.
DTYPES = tuple(map(jnp.dtype, ("bfloat16", "float16", "float32", "float64")))

Positions = Int[Array, "b T"] | tuple[Int[Array, "b T"], Int[Array, "b S"]]


class Arguments(TypedDict, total=False):
    """What `attend` takes beside query, key and value, which says what each is."""

    variant: str
    params: Params | None
    mask: Mask | Array | np.ndarray | None
    bias: Array | None
    score_mod: ScoreMod | None
    per_token: dict[str, Array] | None
    positions: Positions | None
    position_encoding: str | None
    segments: Any
    rng: PRNGKeyArray | None
    dropout_rate: float
    state: Any
    grid: tuple[int, int] | None


def checked(
    query: Array,
    key: Array,
    value: Array,
    *,
    variant: str = "scaled_dot",
    params: Params | None = None,
    mask: Mask | Array | np.ndarray | None = None,
    bias: Array | None = None,
    score_mod: ScoreMod | None = None,
    per_token: dict[str, Array] | None = None,
    positions: Positions | None = None,
    position_encoding: str | None = None,
    segments: Any = None,
    rng: PRNGKeyArray | None = None,
    dropout_rate: float = 0.0,
    state: Any = None,
    grid: tuple[int, int] | None = None,
    outputs: Iterable[str] = ("out",),
) -> Problem:
    """Returns the arguments of `attend` as a problem that fits together.

    Args are those of `attend`, which says what each is.

    Raises:
      Refused: shapes do not fit, or the variant does not take an argument.
    """
    check_jax()
    resolved = encoded(variant, position_encoding)
    outputs = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    _check_shapes(resolved, query, key, value)
    rules = None if mask is None else as_mask(mask)
    if segments is not None:
        rules = conjunction(rules, Segments(*segments) if isinstance(segments, tuple) else Segments(segments))
    traced, captures = (None, ()) if score_mod is None else trace(score_mod, statistics_dtype(query.dtype))
    _check_grid(grid, query, key)
    sizes = Sizes(query.shape[2], key.shape[2], query.shape[3], key.shape[3], value.shape[3], key.shape[1], grid)
    problem = Problem(
        variant=resolved,
        query=query,
        key=key,
        value=value,
        params=fitting(
            resolved.spec,
            resolved.mechanism.arrays,
            params,
            sizes,
            maker="init(variant, rng, sizes)"
            if position_encoding is None
            else "init(variant, rng, sizes, position_encoding)",
        ),
        mask=conjunction(rules, resolved.mechanism.own_mask(sizes)),
        bias=bias,
        score_mod=traced,
        captures=captures,
        per_token=_checked_per_token(resolved, per_token, sizes, (query.shape[0], query.shape[1], key.shape[1])),
        positions=_checked_positions(positions, query, key),
        rng=rng,
        dropout_rate=dropout_rate,
        state=state,
        outputs=outputs,
        grid=grid,
    )
    _check_dropout(problem)
    _check_claims(problem)
    _check_mask(problem)
    _check_bias(problem)
    return problem


def _check_shapes(variant: Variant, query: Array, key: Array, value: Array) -> None:
    for name, array in (("query", query), ("key", key), ("value", value)):
        if array.ndim != 4 or 0 in array.shape:
            raise Refused(f"{name} has shape {array.shape}: give [batch, tokens, heads, width], each at least 1.")
        if array.dtype not in DTYPES:
            raise Refused(f"{name} is {array.dtype}: cast it to one of {', '.join(map(str, DTYPES))}.")
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise Refused(f"{name} is {array.dtype}: attention takes floating-point arrays, such as float32.")
    if key.shape[:3] != value.shape[:3]:
        raise Refused(
            f"key {key.shape} and value {value.shape} differ in more than their width: they are of the same tokens."
        )
    if query.shape[0] != key.shape[0]:
        raise Refused(f"query has a batch of {query.shape[0]} and key of {key.shape[0]}: give both the same.")
    heads, kv_heads = query.shape[2], key.shape[2]
    if heads % kv_heads:
        raise Refused(f"{heads} query heads do not divide among {kv_heads} key heads: give a multiple of {kv_heads}.")
    if heads != kv_heads and not variant.claims.grouped:
        raise Refused(f"{variant.spec} needs as many key heads as query heads, not {kv_heads} for {heads}.")
    if query.shape[3] != key.shape[3] and not variant.claims.unequal_widths:
        raise Refused(
            f"{variant.spec} compares queries and keys of one width, not {query.shape[3]} and {key.shape[3]}: "
            "project them to one width, or use variant general."
        )


def _checked_per_token(
    variant: Variant, per_token: dict[str, Array] | None, sizes: Sizes, tokens: tuple[int, int, int]
) -> dict[str, Array]:
    declared, per_token = variant.mechanism.per_token, per_token or {}
    if declared.keys() != per_token.keys():
        raise Refused(f"{variant.spec} takes per_token {sorted(declared)}, not {sorted(per_token)}.")
    batch, queries, keys = tokens
    for name, array in per_token.items():
        shape = declared[name].shape(sizes, batch=batch, queries=queries, keys=keys)
        if array.shape != shape:
            raise Refused(
                f"{variant.spec} takes per_token[{name!r}] of shape {shape}, {declared[name]} of each "
                f"{declared[name].of}, not {array.shape}."
            )
    return per_token


def _checked_positions(
    positions: Positions | None, query: Array, key: Array
) -> tuple[Int[Array, "b T"], Int[Array, "b S"]] | None:
    if positions is None:
        return None
    pair = positions if isinstance(positions, tuple) else (positions, positions)
    checked = []
    for name, given, tokens in (("query", pair[0], query), ("key", pair[1], key)):
        batch, length = tokens.shape[:2]
        array = whole_numbers(given, owner=f"the {name} positions")
        if array.shape not in ((batch, length), (1, length)):
            raise Refused(f"{name} positions have shape {array.shape}: give int [{batch} or 1, {length}].")
        checked.append(array)
    return checked[0], checked[1]


def _check_grid(grid: tuple[int, int] | None, query: Array, key: Array) -> None:
    tokens = (query.shape[1], key.shape[1])
    if grid is not None and tokens != (grid[0] * grid[1],) * 2:
        raise Refused(f"grid={grid} has {grid[0] * grid[1]} places for {tokens[0]} queries and {tokens[1]} keys.")


def _check_mask(problem: Problem) -> None:
    if problem.mask is None:
        return
    batch, queries, heads = problem.query.shape[:3]
    keys = problem.key.shape[1]
    problem.mask.check(batch=batch, heads=heads, queries=queries, keys=keys)
    if problem.mask.positional and problem.positions is None and queries != keys:
        raise Refused(
            f"a mask by position with {queries} queries and {keys} keys is ambiguous: give positions=(query positions, "
            "key positions)."
        )


def _check_bias(problem: Problem) -> None:
    if problem.bias is None:
        return
    batch, queries, heads = problem.query.shape[:3]
    full = (batch, heads, queries, problem.key.shape[1])
    shape = np.shape(problem.bias)
    if len(shape) > 4 or any(size not in (1, limit) for size, limit in zip(shape[::-1], full[::-1], strict=False)):
        raise Refused(f"bias of shape {shape} does not broadcast to [B, N, T, S] = {list(full)}.")


def _check_dropout(problem: Problem) -> None:
    if not 0 <= problem.dropout_rate < 1:
        raise Refused(f"dropout_rate={problem.dropout_rate} is not in [0, 1): 0 is no dropout.")
    if problem.dropout_rate > 0 and problem.rng is None:
        raise Refused(f"dropout_rate={problem.dropout_rate} needs rng: give a key, or a rate of 0.")


def _check_claims(problem: Problem) -> None:
    variant, claims = problem.variant, problem.variant.claims
    for output in problem.outputs:
        if output not in OUTPUTS:
            raise Refused(f"there is no output {output!r}.{did_you_mean(str(output), OUTPUTS)}")
    causal = problem.mask is not None and problem.mask.causal
    if not causal and not claims.bidirectional:
        raise Refused(
            f"{variant.spec} runs from the past to the future and needs a causal mask, but was given "
            f"{describe(problem.mask)}: give mask=Causal(), alone or with &, or use variant scaled_dot."
        )
    undeclared = {
        "a causal mask: a choice it makes depends on the whole sequence": causal and claims.causal == "no",
        "keys of another length than the queries": problem.query.shape[1] != problem.key.shape[1] and not claims.cross,
        "a bias: it never forms logits to add it to": problem.bias is not None and not claims.bias,
        "a score_mod: it never forms logits": problem.score_mod is not None and not claims.bias,
        "dropout of weights: it never forms them": problem.dropout_rate > 0 and not claims.dropout,
        "attention weights (outputs): it never forms them": "weights" in problem.outputs and not claims.weights,
        "logits (outputs): it never forms them": "logits" in problem.outputs and not claims.bias,
        "aux (outputs): it reports nothing": "aux" in problem.outputs and not claims.aux,
        "lse (outputs): it has no log of a normaliser": "lse" in problem.outputs and not claims.lse,
        "a state": (problem.state is not None or "state" in problem.outputs) and not (claims.state or claims.steps),
    }
    for what, asked in undeclared.items():
        if asked:
            raise Refused(f"{variant.spec} does not take {what}. Use variant scaled_dot, or leave it out.")
    unread = [rule for rule in terms(problem.mask) if claims.masks and type(rule).__name__ not in claims.masks]
    if unread:
        raise Refused(
            f"{variant.spec} takes masks of {', '.join(claims.masks or ())} joined by &, not {describe(unread[0])}: "
            "what it does goes over several keys at once. Use variant scaled_dot."
        )
