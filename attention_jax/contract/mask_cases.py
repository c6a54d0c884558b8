"""The masks that the contract tries, each with its rule in plain Python, and which variants take which."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.contract.cases import SPECS, claims, widely
from attention_jax.kernels import (
    Causal,
    Dense,
    FeatureMap,
    Global,
    LinearRecurrence,
    Mask,
    Padding,
    PrefixLM,
    Segments,
    Sizes,
    Window,
    lookup,
)
from attention_jax.kernels.mask_algebra import Axis, as_mask, terms


@dataclass(frozen=True)
class MaskKind:
    """A mask for 2 sequences of 7 tokens, and the same rule in plain Python.

    Attributes:
      mask: the library's.
      rule: (batch, head, query, key) -> may the query see the key.
    """

    mask: Mask | jax.Array | None
    rule: Callable[[int, int, int, int], bool]


_LENGTHS = (5, 0)
_REAL = np.array([[1, 0, 1, 1, 0, 1, 1], [0, 1, 1, 0, 0, 0, 1]], bool)
_SEGMENT = np.array([[0, 0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 1, 1, 3]])
_PREFIX = (3, 1)
_DENSE = np.random.default_rng(5).random((2, 4, 7, 7)) < 0.5
_DENSE[:, :, 2] = False

MASKS: dict[str, MaskKind] = {
    "none": MaskKind(None, lambda b, n, i, j: True),
    "causal": MaskKind(Causal(), lambda b, n, i, j: j <= i),
    "lengths": MaskKind(Padding(np.array(_LENGTHS)), lambda b, n, i, j: j < _LENGTHS[b]),
    "padding": MaskKind(Padding(_REAL), lambda b, n, i, j: _REAL[b, j]),
    "segments": MaskKind(Segments(_SEGMENT), lambda b, n, i, j: _SEGMENT[b, i] == _SEGMENT[b, j]),
    "window": MaskKind(Window(2), lambda b, n, i, j: abs(i - j) < 2),
    "prefix": MaskKind(PrefixLM(np.array(_PREFIX)), lambda b, n, i, j: j <= i or j < _PREFIX[b]),
    "global": MaskKind(Global(2), lambda b, n, i, j: i < 2 or j < 2),
    "dense": MaskKind(Dense(_DENSE), lambda b, n, i, j: _DENSE[b, n, i, j]),
    "array": MaskKind(jnp.asarray(_DENSE[0, 0]), lambda b, n, i, j: _DENSE[0, 0, i, j]),
    "causal&lengths": MaskKind(Causal() & Padding(np.array(_LENGTHS)), lambda b, n, i, j: j <= i and j < _LENGTHS[b]),
    "causal&padding&segments": MaskKind(
        Causal() & Padding(_REAL) & Segments(_SEGMENT),
        lambda b, n, i, j: j <= i and _REAL[b, j] and _SEGMENT[b, i] == _SEGMENT[b, j],
    ),
    "causal&window|global": MaskKind(
        Causal() & Window(2) | Global(1), lambda b, n, i, j: (j <= i and i - j < 2) or i < 1 or j < 1
    ),
}


def behind(lengths: Any) -> Padding:
    """Padding of 7 places after so many tokens of each sequence, by place: most lines share its program."""
    return Padding(np.arange(7) < jnp.asarray(lengths)[:, None])


def counted(spec: str) -> dict[str, Any]:
    """Positions that say what is so without them, where they alone count: another order is no other program then.

    A recurrence goes by the order in the array, and takes none.
    """
    own, in_order = claims(spec), isinstance(lookup(spec).mechanism, (FeatureMap, LinearRecurrence))
    return {"positions": np.arange(7)[None]} if own.order_free and own.rows_apart and not in_order else {}


def takes(spec: str, kind: str) -> bool:
    """Whether a variant takes this kind of mask, by its claims."""
    return takes_mask(spec, MASKS[kind].mask)


def takes_mask(spec: str, mask: Mask | jax.Array | None) -> bool:
    """Whether a variant takes this mask, by its claims."""
    rules = None if mask is None else as_mask(mask)
    kinds, causal = claims(spec).masks, rules is not None and rules.causal
    return (claims(spec).causal != "no" if causal else claims(spec).bidirectional) and all(
        kinds is None or type(rule).__name__ in kinds for rule in terms(rules)
    )


def under(kinds: Iterable[str], specs: Iterable[str] = tuple(SPECS), *, first: int | None = None) -> list[Any]:
    """Each of the specs with each of these kinds of mask that it takes; all but its `first` ones `widely`."""
    taken = [[(spec, kind) for kind in kinds if takes(spec, kind)] for spec in specs]
    return [case for cases in taken for case in (*cases[:first], *(() if first is None else widely(cases[first:])))]


def visible(spec: str, kind: MaskKind, shape: tuple[int, int, int, int] = (2, 4, 7, 7)) -> np.ndarray:
    """Who sees whom under a mask and the variant's own, bool [B, N, T, S]."""
    seen = np.array([kind.rule(*pair) for pair in np.ndindex(*shape)], bool).reshape(shape)
    own = lookup(spec).mechanism.own_mask(Sizes(4, 2, 8, 8, 5, shape[3]))
    if own is None:
        return seen
    queries, keys = (Axis(jnp.arange(size), jnp.arange(size)[None]) for size in shape[2:])
    return seen & np.asarray(own.visible(queries, keys))
