"""Who may see whom, as values: `Causal() & Window(256) & Padding(lengths)`.

A mask stays symbolic until an engine asks for the part it needs: `visible(query, key)` gives any rectangle of it. True
means "may attend". `&` narrows, `|` widens, and `&` binds tighter than `|`, as in Python. Masks are pytrees, so they go
through jit, vmap and scan like arrays.

Position or index: Causal, Window, PrefixLM and Global compare positions (where a token stands in its sequence, given to
`attend` as `positions`); Padding, Segments and Dense look up by index (where it stands in the array).
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from attention_jax.kernels.errors import Refused


@dataclass(frozen=True)
class Axis:
    """The queries, or the keys, that a mask is asked about.

    Attributes:
      index: [t], where each stands in its array.
      position: [B or 1, t], where each stands in its sequence.
    """

    index: Int[Array, " t"]
    position: Int[Array, "b t"]


class Mask:
    """A rule that says which query may see which key. Combine with `&` and `|`."""

    # Makes NumPy leave `array & mask` to `__rand__`, where it would otherwise combine element by element.
    __array_ufunc__ = None

    @property
    def causal(self) -> bool:
        """Whether the rule alone implies key position <= query position."""
        return False

    @property
    def positional(self) -> bool:
        """Whether the rule compares positions."""
        return False

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        """Returns the rectangle of the rule at these queries and keys, [B or 1, N or 1, t, s]."""
        raise NotImplementedError

    def check(self, *, batch: int, heads: int, queries: int, keys: int) -> None:
        """Checks the rule's arrays against the shapes they will meet.

        Raises:
          Refused: an array does not fit.
        """

    def __and__(self, other: "Mask | Array | np.ndarray") -> "Mask":
        return And((self, as_mask(other)))

    def __or__(self, other: "Mask | Array | np.ndarray") -> "Mask":
        return Or((self, as_mask(other)))

    __rand__ = __and__
    __ror__ = __or__


def _pytree(*, data: tuple[str, ...] = (), meta: tuple[str, ...] = ()) -> Any:
    return partial(jax.tree_util.register_dataclass, data_fields=list(data), meta_fields=list(meta))


def _positive(owner: str, value: int, way_out: str) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise Refused(f"{owner}({value!r}): it must be a whole number of at least 1; {way_out}.")


@_pytree()
@dataclass(frozen=True, eq=False)
class Causal(Mask):
    """A key is visible to the queries at its position and after it."""

    @property
    def causal(self) -> bool:
        return True

    @property
    def positional(self) -> bool:
        return True

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        return (key.position[:, None, :] <= query.position[:, :, None])[:, None]


@_pytree(meta=("size",))
@dataclass(frozen=True, eq=False)
class Window(Mask):
    """A key is visible when it is fewer than `size` positions away, on either side.

    `Causal() & Window(size)` keeps `size` keys, the query's own among them (Mistral's count); `Window(1)` is the query
    alone.
    """

    size: int

    def __post_init__(self) -> None:
        _positive("Window", self.size, "Window(1) keeps the query's own key alone")

    @property
    def positional(self) -> bool:
        return True

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        return (jnp.abs(query.position[:, :, None] - key.position[:, None, :]) < self.size)[:, None]


@_pytree(meta=("count",))
@dataclass(frozen=True, eq=False)
class Global(Mask):
    """The first `count` positions see every key and are seen by every query (Beltagy et al. 2020, Longformer)."""

    count: int

    def __post_init__(self) -> None:
        _positive("Global", self.count, "leave Global out for no global positions")

    @property
    def positional(self) -> bool:
        return True

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        return ((query.position[:, :, None] < self.count) | (key.position[:, None, :] < self.count))[:, None]


@_pytree(data=("prefix",))
@dataclass(frozen=True, eq=False)
class PrefixLM(Mask):
    """Causal, but every query also sees the first `prefix` positions (Raffel et al. 2019, figure 4).

    Attributes:
      prefix: one number, or [B], a number for each sequence.
    """

    prefix: Int[Array, " b"] | int

    @property
    def positional(self) -> bool:
        return True

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        prefix = jnp.reshape(jnp.asarray(self.prefix), (-1, 1, 1))
        later = key.position[:, None, :] <= query.position[:, :, None]
        return (later | (key.position[:, None, :] < prefix))[:, None]

    def check(self, *, batch: int, heads: int, queries: int, keys: int) -> None:
        if np.shape(self.prefix) not in ((), (1,), (batch,)):
            raise Refused(
                f"PrefixLM has prefixes of shape {np.shape(self.prefix)}: give one, or [{batch}] for this batch."
            )


@_pytree(data=("keys",))
@dataclass(frozen=True, eq=False)
class Padding(Mask):
    """Only real keys are visible.

    Attributes:
      keys: bool [B, S], True for a real key; or int [B], how many keys, from the first, are real.
    """

    keys: Any

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        return self.valid(key.index)[:, None, None, :]

    def valid(self, index: Int[Array, " s"]) -> Bool[Array, "b s"]:
        """Returns, for the keys at `index` [s], which are real, [B, s]."""
        keys = jnp.asarray(self.keys)
        return keys[:, index] if keys.dtype == jnp.bool_ else index[None, :] < keys[:, None]

    def check(self, *, batch: int, heads: int, queries: int, keys: int) -> None:
        shape, dtype = np.shape(self.keys), jnp.result_type(self.keys)
        if dtype == jnp.bool_ and shape in ((batch, keys), (1, keys)):
            return
        if jnp.issubdtype(dtype, jnp.integer) and shape in ((batch,), (1,)):
            return
        raise Refused(
            f"Padding has {dtype} of shape {shape} for {batch} sequences of {keys} keys: give bool [{batch}, {keys}], "
            f"True for a real key, or int [{batch}], the number of real keys."
        )


@_pytree(data=("query", "key"))
@dataclass(frozen=True, eq=False)
class Segments(Mask):
    """A key is visible to the queries of its own segment, so that packed documents do not see each other.

    Attributes:
      query: int [B, T], each query's segment.
      key: int [B, S], each key's segment; None when the keys are the queries.
    """

    query: Any
    key: Any = field(default=None)

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        of_query = jnp.asarray(self.query)[:, query.index]
        of_key = jnp.asarray(self.query if self.key is None else self.key)[:, key.index]
        return (of_query[:, :, None] == of_key[:, None, :])[:, None]

    def check(self, *, batch: int, heads: int, queries: int, keys: int) -> None:
        of_key = self.query if self.key is None else self.key
        for name, ids, length in (("query", self.query, queries), ("key", of_key, keys)):
            if np.shape(ids) not in ((batch, length), (1, length)):
                raise Refused(
                    f"Segments has {name} ids of shape {np.shape(ids)}, but there are {batch} sequences of {length}: "
                    f"give int [{batch}, {length}]."
                )


@_pytree(data=("array",))
@dataclass(frozen=True, eq=False)
class Dense(Mask):
    """Any rule at all, written out.

    Attributes:
      array: bool [T, S], or [B or 1, N or 1, T, S], True where the query may see the key.
    """

    array: Any

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        array = jnp.asarray(self.array)
        array = array[None, None] if array.ndim == 2 else array
        return array[:, :, query.index[:, None], key.index[None, :]]

    def check(self, *, batch: int, heads: int, queries: int, keys: int) -> None:
        shape, dtype = np.shape(self.array), jnp.result_type(self.array)
        if dtype != jnp.bool_:
            raise Refused(
                f"the mask array is {dtype}: give bool, True where a query may see a key, or pass it as bias."
            )
        full = (1, 1, *shape) if len(shape) == 2 else shape
        if len(full) != 4 or full[0] not in (1, batch) or full[1] not in (1, heads) or full[2:] != (queries, keys):
            raise Refused(
                f"the mask array has shape {shape}: give [{queries}, {keys}] or [{batch} or 1, {heads} or 1, "
                f"{queries}, {keys}]; a mask over keys alone is Padding(array)."
            )


class _Combined(Mask):
    terms: tuple[Mask, ...]

    @property
    def positional(self) -> bool:
        return any(term.positional for term in self.terms)

    def check(self, *, batch: int, heads: int, queries: int, keys: int) -> None:
        for term in self.terms:
            term.check(batch=batch, heads=heads, queries=queries, keys=keys)


@_pytree(data=("terms",))
@dataclass(frozen=True, eq=False)
class And(_Combined):
    """Visible where every term says so."""

    terms: tuple[Mask, ...]

    @property
    def causal(self) -> bool:
        return any(term.causal for term in self.terms)

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        first, *rest = (term.visible(query, key) for term in self.terms)
        for term in rest:
            first = first & term
        return first


@_pytree(data=("terms",))
@dataclass(frozen=True, eq=False)
class Or(_Combined):
    """Visible where any term says so."""

    terms: tuple[Mask, ...]

    @property
    def causal(self) -> bool:
        return all(term.causal for term in self.terms)

    def visible(self, query: Axis, key: Axis) -> Bool[Array, "b n t s"]:
        first, *rest = (term.visible(query, key) for term in self.terms)
        for term in rest:
            first = first | term
        return first


def as_mask(mask: "Mask | Array | np.ndarray") -> Mask:
    """Returns a mask as it is and an array as `Dense`.

    Raises:
      Refused: it is neither.
    """
    if isinstance(mask, Mask):
        return mask
    if isinstance(mask, (jax.Array, np.ndarray)):
        return Dense(mask)
    raise Refused(f"mask={mask!r} is neither a mask nor an array: try Causal(), Padding(lengths) or a bool array.")


def conjunction(*masks: Mask | None) -> Mask | None:
    """Returns the masks that are not None joined by `&`, or None when there is none."""
    given = tuple(mask for mask in masks if mask is not None)
    if len(given) < 2:
        return given[0] if given else None
    return And(given)


def terms(mask: Mask | None) -> tuple[Mask, ...]:
    """Returns the rules that all must hold, nested `&` flattened; none for no mask."""
    if mask is None:
        return ()
    if isinstance(mask, And):
        return tuple(inner for term in mask.terms for inner in terms(term))
    return (mask,)


def describe(mask: Mask | None) -> str:
    """Returns the rule in the words of its classes, such as "Causal & Window"."""
    if mask is None:
        return "no mask"
    if isinstance(mask, _Combined):
        sign = " & " if isinstance(mask, And) else " | "
        return "(" + sign.join(describe(term) for term in mask.terms) + ")"
    return type(mask).__name__
