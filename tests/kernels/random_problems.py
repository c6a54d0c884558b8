"""Problems for the engines that cut attention into tiles, and how far each engine is from the dense one in float64.

A mask is drawn as a tree of words, ("&", "causal", ("|", "window", "global")), and its arrays from a seed, so that a
case that fails is one line that can be run again.
"""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from attention_jax.contract.cases import make, quick_jit, run
from attention_jax.kernels import Blocks, Causal, Dense, Global, Mask, Padding, PrefixLM, Segments, Window
from attention_jax.kernels.engines import blockwise, gather

Tree = str | tuple[Any, ...]


@dataclass(frozen=True)
class Sizes:
    """What the arrays of a mask depend on."""

    batch: int
    heads: int
    queries: int
    keys: int


def _blocks(rng: np.random.Generator, sizes: Sizes) -> Blocks:
    # A few kinds, since operations are compiled once more for each shape.
    kinds = ((sizes.batch, sizes.heads, 1, 2), (1, sizes.heads, 3, 4), (sizes.batch, 1, 5, 3))
    batch, heads, of_query, of_key = kinds[rng.integers(len(kinds))]
    counts = (-(-sizes.queries // of_query), -(-sizes.keys // of_key))
    return Blocks(rng.random((batch, heads, *counts)) < 0.5, of_query, of_key)


def _segments(rng: np.random.Generator, sizes: Sizes) -> Segments:
    ids = (rng.integers(0, 3, size=(sizes.batch, length)) for length in (sizes.queries, sizes.keys))
    return Segments(*(np.sort(array) if rng.random() < 0.7 else array for array in ids))


RULES = {
    "causal": lambda rng, sizes: Causal(),
    "window": lambda rng, sizes: Window(int(rng.integers(1, 9))),
    "global": lambda rng, sizes: Global(int(rng.integers(1, 4))),
    "prefix": lambda rng, sizes: PrefixLM(rng.integers(0, sizes.keys + 1, size=sizes.batch)),
    "lengths": lambda rng, sizes: Padding(rng.integers(0, sizes.keys + 1, size=sizes.batch)),
    "real": lambda rng, sizes: Padding(rng.random((sizes.batch, sizes.keys)) < 0.7),
    "segments": _segments,
    "dense": lambda rng, sizes: Dense(rng.random((1, sizes.heads, sizes.queries, sizes.keys)) < 0.6),
    "blocks": _blocks,
}
TREES = st.recursive(
    st.sampled_from(sorted(RULES)), lambda trees: st.tuples(st.sampled_from("&|"), trees, trees), max_leaves=4
)


def build(tree: Tree, rng: np.random.Generator, sizes: Sizes) -> Mask:
    """The mask that a tree of words says."""
    if isinstance(tree, str):
        return RULES[tree](rng, sizes)
    left, right = (build(term, rng, sizes) for term in tree[1:])
    return left & right if tree[0] == "&" else left | right


@dataclass(frozen=True)
class Case:
    """A problem and the engine that solves it.

    Attributes:
      engine: its name.
      spec: the variant.
      mask: a tree of words, or None.
      length: queries and keys; where they differ, the last query stands at the last key.
      heads: query heads and key heads.
      value_width: of one value head.
      dtype: of query, key and value.
      tiles: queries in a tile (16 at least), keys in a tile, keys in a slab.
      bias: for each axis of [B, N, T, S] whether the bias has it; None for no bias.
      score_mod: whether one is given, that captures an array with a gradient, one of integers, and a number.
      dropout_rate: the share of weights that go.
      seed: of all arrays.
    """

    engine: str = "blockwise"
    spec: str = "scaled_dot"
    mask: Tree | None = None
    length: tuple[int, int] = (23, 23)
    heads: tuple[int, int] = (4, 2)
    value_width: int = 5
    dtype: str = "float32"
    tiles: tuple[int, int, int] = (16, 5, 9)
    bias: tuple[bool, ...] | None = None
    score_mod: bool = False
    dropout_rate: float = 0.0
    seed: int = 0

    @property
    def words(self) -> str:
        """The case in a few words, for the name of its test."""
        mask = str(self.mask).translate(str.maketrans("", "", "'(), "))
        return f"{self.engine}-{self.spec}-{mask}-{self.length[0]}x{self.length[1]}-{self.dtype}"


@contextlib.contextmanager
def tiles(query: int, key: int, slab: int) -> Iterator[None]:
    """Has the engines cut problems into tiles of these sizes at most."""
    with pytest.MonkeyPatch.context() as patch:
        for engine in (blockwise, gather):
            patch.setattr(engine, "QUERY_TILE", query)
            patch.setattr(engine, "KEY_TILE", key)
        patch.setattr(gather, "SLAB_KEYS", slab)
        yield


@dataclass(frozen=True)
class Problem:
    """The arrays of a case.

    Attributes:
      given: what is differentiated: `inputs`, `bias` and the `table` that the score function reads.
      fixed: what is not: `mask`, `positions`, `shift` (captured integers), and what weighs `out` and `lse`.
    """

    given: dict[str, Any]
    fixed: dict[str, Any]


def problem(case: Case) -> Problem:
    """Draws the arrays of a case."""
    rng = np.random.default_rng(case.seed)
    held = jnp.dtype("float32" if case.dtype == "float64" else case.dtype)
    queries, keys = case.length
    sizes = Sizes(2, case.heads[0], queries, keys)
    inputs = make(
        case.spec, queries=queries, keys=keys, heads=sizes.heads, kv_heads=case.heads[1],
        value_width=case.value_width, dtype=held, seed=case.seed,
    )  # fmt: skip
    full = (sizes.batch, sizes.heads, queries, keys)
    bias = None
    if case.bias is not None:
        has = rng.normal(size=[size if has else 1 for size, has in zip(full, case.bias, strict=True)])
        bias = jnp.asarray(has, held)
    ends = (jnp.arange(keys - queries, keys)[None], jnp.arange(keys)[None])
    # Weights that every dtype holds, so that the same sum is differentiated in each.
    weighing = {"out": (sizes.batch, queries, sizes.heads, case.value_width), "lse": full[:3]}
    return Problem(
        given={"inputs": inputs, "bias": bias, "table": jnp.asarray(rng.normal(size=(full[1], 32)), jnp.float32)},
        fixed={
            "mask": None if case.mask is None else build(case.mask, rng, sizes),
            "positions": None if queries == keys else ends,
            "shift": jnp.asarray(rng.integers(0, 32, size=sizes.batch)),
            **{name: jnp.asarray(rng.integers(-8, 9, size=shape) / 8) for name, shape in weighing.items()},
        },
    )


@functools.partial(quick_jit, static_argnames="case")
def solved(given: dict[str, Any], fixed: dict[str, Any], *, case: Case) -> dict[str, Any]:
    """`out`, `lse`, and the gradients of both of them weighed, in one compiled piece for each case."""

    def weighed(given):
        table = given["table"]

        def modified(score, batch, head, query, key):
            return 1.25 * score + table[head, (query - key + fixed["shift"][batch]) % 32]

        result = run(
            case.spec, given["inputs"], engine=case.engine, mask=fixed["mask"], positions=fixed["positions"],
            bias=given["bias"], score_mod=modified if case.score_mod else None, outputs=("out", "lse"),
            rng=jax.random.key(case.seed), dropout_rate=case.dropout_rate,
        )  # fmt: skip
        lse = jnp.where(result.lse == -jnp.inf, 0, result.lse)
        total = (result.out.astype(lse.dtype) * fixed["out"]).sum() + (lse * fixed["lse"]).sum()
        return total, {"out": result.out, "lse": result.lse}

    with tiles(*case.tiles):
        gradients, results = jax.grad(weighed, has_aux=True)(given)
    return {**results, "gradients": gradients}


@dataclass(frozen=True)
class Errors:
    """How far two engines are from float64, in units of the standard deviation of what is computed.

    Attributes:
      ours: of the engine.
      dense: of the dense engine in the same dtype, which has none in float64.
      floor: a unit in the last place of the largest number, and four of float32, in which exponents are rounded.
    """

    ours: float
    dense: float
    floor: float


def errors(case: Case) -> dict[str, Errors]:
    """The errors of `out`, `lse` and every gradient of a case."""
    drawn = problem(case)
    of_dense, in_float64 = replace(case, engine="dense"), case.dtype == "float64"
    with jax.enable_x64(True):
        given = jax.tree.map(lambda array: array.astype(jnp.float64), drawn.given)
        exact = solved(given, drawn.fixed, case=of_dense)
        ours = solved(given, drawn.fixed, case=case) if in_float64 else None
    ours = ours or solved(drawn.given, drawn.fixed, case=case)
    dense = exact if in_float64 else solved(drawn.given, drawn.fixed, case=of_dense)
    np.testing.assert_array_equal(np.asarray(ours["lse"]) == -np.inf, np.asarray(exact["lse"]) == -np.inf)
    trees = [jax.tree_util.tree_flatten_with_path(tree)[0] for tree in (ours, dense, exact)]
    told = {}
    for (path, own), (_, other), (_, reference) in zip(*trees, strict=True):
        name = jax.tree_util.keystr(path)
        told[name] = _errors(own, other, reference, case.dtype if "gradients" in name else own.dtype)
    return told


def _errors(own: Any, other: Any, reference: Any, dtype: Any) -> Errors:
    own, other, reference = (np.asarray(array, np.float64) for array in (own, other, reference))
    own, other, reference = (np.where(array == -np.inf, 0, array) for array in (own, other, reference))
    unit = reference.std() or np.abs(reference).max()
    # A sum that cancels, such as the gradient of the logit of a single key, is 0 but for the rounding of float64.
    unit = unit if unit > 1e-9 else 1.0
    units = float(jnp.finfo(dtype).eps) + 4 * float(jnp.finfo(jnp.float32).eps)
    floor = units * max(1.0, float(np.abs(reference).max() / unit))
    off = (float(np.abs(array - reference).max() / unit) for array in (own, other))
    return Errors(*off, floor)


def too_far(case: Case) -> dict[str, Errors]:
    """What an engine computes with more than twice the error of the dense one, thrice for gradients, or as NaN."""

    def limit(name: str, error: Errors) -> float:
        if case.dtype == "float64":
            return 1e-13
        return (3 if "gradients" in name else 2) * error.dense + error.floor

    return {name: error for name, error in errors(case).items() if not error.ours <= limit(name, error)}
