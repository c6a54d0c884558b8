"""What the contract tests share: one spec for each variant, one set of inputs, one list of masks, one measure of error.

`ATTENTION_JAX_VARIANTS=my_file.py:my_attention python -m pytest --pyargs attention_jax.contract` runs the contract on a
variant of your own.
"""

import functools
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_jax.contract.chosen import chosen_specs
from attention_jax.kernels import (
    AttentionOutput,
    Candidate,
    Causal,
    Claims,
    Composition,
    Mask,
    PerToken,
    Refused,
    Sizes,
    attend,
    explain,
    init,
    lookup,
    names,
)
from attention_jax.kernels.registry import VARIANTS

SPECS = chosen_specs(VARIANTS)

# These tests wait for the compiler, not for what it makes: XLA's passes all run, LLVM's optimiser does not.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

# What float32 rounding may do to a result, over the standard deviation of the results.
ROUNDING = 2e-6
# And by how much two results may differ, each of which is that near to the truth; gradients half as much again.
AGREEMENT = 2 * ROUNDING
GRADIENT_AGREEMENT = 3 * ROUNDING


def claims(spec: str) -> Claims:
    """What the variant says of itself."""
    return lookup(spec).claims


def claiming(**wanted: Any) -> list[str]:
    """The specs whose claims have all these values."""
    return [spec for spec in SPECS if all(getattr(claims(spec), name) == value for name, value in wanted.items())]


def rule_of(spec: str) -> Hashable:
    """What decides which engine runs a variant, and how: its mechanism, how its state is updated, a mask of its own."""
    mechanism = lookup(spec).mechanism
    return (
        type(mechanism).__name__,
        getattr(mechanism, "update", None),
        getattr(mechanism, "erase", None) is not None,
        mechanism.mask is not None,
    )


def one_of_each_rule(specs: Iterable[str]) -> list[str]:
    """The first of the specs for each rule: those that stand for the others like them."""
    first: dict[Hashable, str] = {}
    # The plain ones stand for those like them.
    for spec in sorted(specs, key=lambda spec: lookup(spec).name not in ("scaled_dot", "softpick", "sliding_window")):
        first.setdefault(rule_of(spec), spec)
    return list(first.values())


STANDING = one_of_each_rule(SPECS)


def widely(cases: Iterable[Any], standing: Iterable[str] = tuple(STANDING)) -> list[Any]:
    """Cases, each a spec or (spec, ...), marked `wide` but for those specs that stand for the others like them.

    For lines that hold an engine more than the mechanism it runs: by default one mechanism of each rule goes through
    them.
    """
    tuples = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*case, marks=[] if case[0] in standing else [pytest.mark.wide]) for case in tuples]


def usual_mask(spec: str) -> Mask | None:
    """None, or the mask that a variant cannot be without."""
    return None if claims(spec).bidirectional else Causal()


def one_way(spec: str) -> Mask | None:
    """A causal mask, or none for a variant that has no causal form."""
    return None if claims(spec).causal == "no" else Causal()


def reference_engine(spec: str) -> str:
    """The engine that has derivatives of any order and is held against the oracle in float64."""
    return lookup(spec).mechanism.reference


class Inputs(NamedTuple):
    """What is differentiated.

    Attributes:
      query: [B, T, N, H].
      key: [B, S, K, J].
      value: [B, S, K, Hv].
      params: the variant's arrays by name.
      per_token: what the variant takes of each query or key beside these, by name, such as [B, S, K] or [B, T, N, J].
    """

    query: jax.Array
    key: jax.Array
    value: jax.Array
    params: dict[str, jax.Array]
    per_token: dict[str, jax.Array] = {}  # noqa: RUF012

    @property
    def tokens(self) -> tuple[Any, ...]:
        """All that belongs to tokens: query, key, value and per_token."""
        return (*self[:3], *self.per_token.values())

    def with_tokens(self, change: Callable[..., Any], *others: "Inputs") -> "Inputs":
        """The same params, and `change` of each array that belongs to tokens, with those of `others` in its place."""
        *three, per_token = jax.tree.map(change, (*self[:3], self.per_token), *((*o[:3], o.per_token) for o in others))
        return Inputs(*three, self.params, per_token)


@functools.cache
@jax.ensure_compile_time_eval()  # so that a first call while something is traced keeps arrays and not tracers
def make(
    spec: str,
    *,
    batch: int = 2,
    queries: int = 7,
    keys: int | None = None,
    heads: int = 4,
    kv_heads: int | None = None,
    width: int = 8,
    key_width: int | None = None,
    value_width: int = 5,
    dtype: Any = jnp.float32,
    scale: float = 1.0,
    seed: int = 0,
    length: int = 9,
) -> Inputs:
    """Returns normal inputs: 2 sequences of 7 tokens, and 2 key heads for 4 query heads where the variant can.

    Arrays with a number for each place are for up to `length` tokens, or as many as there are.
    """
    if kv_heads is None:
        kv_heads = heads // 2 if claims(spec).grouped and heads % 2 == 0 else heads
    key_width = key_width or width
    keys = keys or queries
    rng = np.random.default_rng(seed)
    shapes = ((queries, heads, width), (keys, kv_heads, key_width), (keys, kv_heads, value_width))
    query, key, value = (rng.normal(size=(batch, *shape)) for shape in shapes)
    # Of a second layer: the first may be one in which an array plays no part.
    sizes = Sizes(heads, kv_heads, width, key_width, value_width, length=max(queries, keys, length), layer=2)
    trained, drawn = _init(jax.random.key(seed), spec, sizes)
    # As after some training: no two heads alike.
    trained = {
        name: jnp.asarray(np.asarray(array) + 0.1 * rng.normal(size=array.shape).astype("float32"))
        for name, array in trained.items()
    }
    arrays = (jnp.asarray(array, dtype) for array in (query * scale, key * scale, value))
    shapes = {
        name: one.shape(sizes, batch=batch, queries=queries, keys=keys)
        for name, one in lookup(spec).mechanism.per_token.items()
    }
    per_token = {name: jnp.asarray(rng.normal(size=shape) * scale, dtype) for name, shape in shapes.items()}
    return Inputs(*arrays, {**trained, **drawn}, per_token)


@functools.partial(quick_jit, static_argnames=("spec", "sizes"))
def _init(rng: jax.Array, spec: str, sizes: Sizes) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    return init(spec, rng, sizes)


def part_of(spec: str, inputs: Inputs, queries: slice | np.ndarray, keys: slice | np.ndarray) -> Inputs:
    """Some of the queries and some of the keys, with their per_token."""
    of = {"query": queries, "key": keys}
    per_token = {name: array[:, of[declared(spec, name).of]] for name, array in inputs.per_token.items()}
    return Inputs(inputs.query[:, queries], inputs.key[:, keys], inputs.value[:, keys], inputs.params, per_token)


def of_heads(spec: str, inputs: Inputs, query_heads: np.ndarray, key_heads: np.ndarray) -> dict[str, jax.Array]:
    """The per_token arrays, of these query heads or of these key heads; an array for no head stays as it is."""
    of = {"N": query_heads, "K": key_heads}
    return {
        name: array[:, :, of[declared(spec, name).axes[0]]] if declared(spec, name).by_head else array
        for name, array in inputs.per_token.items()
    }


def declared(spec: str, name: str) -> PerToken:
    """The declaration of a per_token array of a variant."""
    return lookup(spec).mechanism.per_token[name]


def run(spec: str, inputs: Inputs, **arguments: Any) -> AttentionOutput:
    """`attend` on these inputs."""
    given = {"params": inputs.params, "per_token": inputs.per_token, "variant": spec}
    return attend(inputs.query, inputs.key, inputs.value, **given, **arguments)


@functools.cache
def goes_by_positions(spec: str) -> bool:
    """Whether where tokens stand counts, beside their order: documents that are packed then need positions."""
    inputs = make(spec)
    try:
        near, far = (
            run_compiled(spec, inputs, mask=Causal(), positions=place[None]).out for place in (PLACES, 3 * PLACES + 5)
        )
    except Refused:
        return False
    return not same_bits(near, far)


PLACES = np.arange(7)


# Arguments by name that are no arrays: a program is of one value of each.
Fixed = tuple[tuple[str, Any], ...]


def out_and_gradients(
    spec: str, inputs: Inputs, weighing: Any, *, engine: str | None, **arguments: Any
) -> tuple[jax.Array, Inputs]:
    """`out`, and the gradient of <weighing, out> with respect to the inputs, compiled as in `run_compiled`."""
    return _out_and_gradients(inputs, weighing, *_split(arguments), spec, engine)


@functools.partial(quick_jit, static_argnames=("fixed", "spec", "engine"))
def _out_and_gradients(
    inputs: Inputs, weighing: Any, arguments: dict[str, Any], fixed: Fixed, spec: str, engine: str | None
) -> tuple[jax.Array, Inputs]:
    given = {**arguments, **dict(fixed)}
    out, pullback = jax.vjp(lambda inputs: run(spec, inputs, engine=engine, **given).out, inputs)
    return out, pullback(jnp.asarray(weighing, out.dtype))[0]


def like_output(inputs: Inputs, seed: int = 1) -> np.ndarray:
    """Normal numbers of the shape of `out`, to weigh it with."""
    shape = (*inputs.query.shape[:3], inputs.value.shape[-1])
    return np.random.default_rng(seed).normal(size=shape)


def lowered(spec: str, inputs: Inputs, *, engine: str | None, **arguments: Any) -> str:
    """The program of `out_and_gradients` as it is given to XLA."""
    return _out_and_gradients.lower(inputs, like_output(inputs), *_split(arguments), spec, engine).as_text()


def run_compiled(spec: str, inputs: Inputs, engine: str | None = None, **arguments: Any) -> AttentionOutput:
    """`run` as one program, which every later call with arguments of these shapes shares.

    Operation by operation a mechanism is a hundred programs, and a loop in it one more at each call.
    """
    return _run_compiled(inputs, *_split(arguments), spec, engine)


@functools.partial(quick_jit, static_argnames=("fixed", "spec", "engine"))
def _run_compiled(
    inputs: Inputs, arguments: dict[str, Any], fixed: Fixed, spec: str, engine: str | None
) -> AttentionOutput:
    return run(spec, inputs, engine=engine, **arguments, **dict(fixed))


def _split(arguments: dict[str, Any]) -> tuple[dict[str, Any], Fixed]:
    fixed = tuple((name, arguments[name]) for name in ("outputs", "dropout_rate", "score_mod") if name in arguments)
    return {name: value for name, value in arguments.items() if name not in dict(fixed)}, fixed


def qualified(spec: str, inputs: Inputs, **arguments: Any) -> list[str | None]:
    """The engines that a test goes through: those that do not refuse.

    The tiled ones know nothing of a variant but its scores, and have tests of their own on tiles of every size: of the
    library's variants they are tried on one of dot products, one with a score of its own and one with a mask.
    """
    every = accepting(spec, inputs, **arguments)
    name = lookup(spec).name
    return [engine for engine in every if engine not in TRIED_ON or name in TRIED_ON[engine] or name not in names()]


TRIED_ON = {"blockwise": {"scaled_dot", "additive"}, "decode": {"scaled_dot"}, "gather": {"sliding_window"}}


def accepting(spec: str, inputs: Inputs, **arguments: Any) -> list[str | None]:
    """The engines that do not refuse any part; None, the usual choice, for a composition of which none takes all."""
    candidates = explained(spec, inputs, **arguments)
    usual = [None] if isinstance(lookup(spec).mechanism, Composition) else []
    refusing = {candidate.engine for candidate in candidates if not candidate.qualified}
    return [engine for engine in dict.fromkeys(c.engine for c in candidates) if engine not in refusing] or usual


def explained(spec: str, inputs: Inputs, **arguments: Any) -> list[Candidate]:
    """`explain` of these inputs."""
    given = {"params": inputs.params, "per_token": inputs.per_token, "variant": spec}
    return explain(inputs.query, inputs.key, inputs.value, **given, **arguments)


def doubled(inputs: Inputs) -> Inputs:
    """The same numbers in float64, where it is enabled."""
    return jax.tree.map(lambda array: jnp.asarray(np.asarray(array, np.float64)), inputs)


def error(result: Any, reference: Any) -> float:
    """The largest difference over the standard deviation of the reference (over its size, when it is constant).

    Zeros stand for what is hidden, and say nothing of how large the others are: they are left out of the deviation.
    """
    result, reference = np.asarray(result, np.float64), np.asarray(reference, np.float64)
    deviation = reference[reference != 0].std() if reference.any() else 0.0
    return float(np.abs(result - reference).max() / (deviation or np.abs(reference).max() or 1.0))


def same_bits(left: Any, right: Any) -> bool:
    """Whether two trees hold the same numbers, NaN equal to NaN."""
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
