"""Ways to tell attention where tokens stand: what a position encoding is, what it claims, and those there are.

A scheme for attention is a function from a mechanism to a mechanism, so that engines know nothing of it. A scheme for
token embeddings is a function of the tokens, and belongs to the model.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Declared, Params, SequenceSizes, fitting
from attention_jax.kernels.composition import Composition, Solve, around, part
from attention_jax.kernels.integers import whole_numbers
from attention_jax.kernels.mechanism import Given, Score, dot, to_statistics
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.registry import Limit, Variant, lookup_kernel
from attention_jax.kernels.scores import scale_of
from attention_jax.kernels.source import Source
from attention_jax.kernels.specs import Build, Chosen, Kind

# The names of a scheme's arrays begin with it, so that they stand beside those of any variant.
PREFIX = "position_"


@dataclass(frozen=True, kw_only=True)
class Position:
    """A way to tell where tokens stand: in the logits, in the token embeddings, or in either. One at least is given.

    Attributes:
      encode: mechanism -> the same with positions in its logits, where all callables may read `given.place`.
      values: (weights [B, N, T, S], given) -> [B, T, N, Hv], added to what the weights make of the values, for an
        encoding that is in the values too: only an engine that has all weights can add it. None for nothing.
      embed: (hidden [B, T, D], positions int [B or 1, T] or None for 0, 1, 2 ..., params) -> [B, T, D].
      arrays: its own arrays by name, each "position_..."; of `embed` the letter of their axes is D.
    """

    encode: Callable[[Score], Score] | None = None
    values: Callable[[Array, Given], Array] | None = None
    embed: Callable[[Array, Array | None, Params], Array] | None = None
    arrays: dict[str, Declared] = field(default_factory=dict, hash=False)

    @property
    def within(self) -> tuple[str, ...]:
        """What the positions are in: of "logits", "values" and "tokens"."""
        parts = {"logits": self.encode, "values": self.values, "tokens": self.embed}
        return tuple(name for name, part in parts.items() if part is not None)


@dataclass(frozen=True, kw_only=True)
class PositionClaims:
    """What a position encoding says of itself.

    Attributes:
      relative: nothing changes where all positions grow by the same number.
      limits: what scaled_dot with it must equal, and when: `spec` and `equals` name a position encoding and a variant.
      tried: the spec that the contract tries, whose options make it do at seven tokens what it is for; None for the
        name alone.
    """

    relative: bool = True
    limits: tuple[Limit, ...] = ()
    tried: str | None = None


POSITIONS = Kind("position encoding", Catalogue("position encoding", "attention_jax.kernels.positions"), example="rope")


def register_position(
    *, source: Source, claims: PositionClaims, aliases: tuple[str, ...] = ()
) -> Callable[[Build], Build]:
    """Registers the decorated function, which returns a `Position`, by its name: see `Kind.register`.

    Args:
      source: where it was published.
      claims: what it says of itself.
      aliases: other names that papers and packages have for it.

    Raises:
      Refused: another position encoding has the name.
    """
    return POSITIONS.register(source=source, claims=claims, aliases=aliases)


@functools.lru_cache(maxsize=1024)
def lookup_position(spec: str) -> Chosen[Position]:
    """Returns the position encoding that a spec chooses, such as "rope:base=500000" or "my_file.py:mine".

    Raises:
      Refused: the name, an option or a value is wrong, or an array is not named "position_...".
    """
    chosen = POSITIONS.choose(spec)
    for name in chosen.made.arrays:
        if not name.startswith(PREFIX):
            raise Refused(f"{spec} has an array {name!r}: call it '{PREFIX}{name}', so that no variant has it too.")
    return chosen


@functools.lru_cache(maxsize=1024)
def encoded(variant: str, position_encoding: str | None) -> Variant:
    """Returns the variant that a spec chooses, with a position encoding in its logits, or as it is where that is None.

    Raises:
      Refused: a spec is wrong, or the variant has no logits, or the encoding is one of token embeddings.
    """
    resolved = lookup_kernel(variant)
    if position_encoding is None:
        return resolved
    position, mechanism = lookup_position(position_encoding).made, resolved.mechanism
    if position.encode is None:
        raise Refused(
            f"position_encoding={position_encoding!r} adds to the token embeddings, before queries and keys are made: "
            f"call embed_positions, or use position_encoding='rope'."
        )
    in_logits, values = position.encode, position.values

    def encode(score: Score) -> Score:
        return replace(in_logits(score), arrays=score.arrays | position.arrays)

    resolved = replace(resolved, spec=f"{variant} with {position_encoding}")
    if isinstance(mechanism, Score) and values is None:
        return replace(resolved, mechanism=encode(mechanism))
    if isinstance(mechanism, Score) and values is not None:
        claims = replace(resolved.claims, memory="quadratic", convex=False)
        return replace(resolved, mechanism=_with_values(encode(mechanism), values), claims=claims)
    if isinstance(mechanism, Composition) and mechanism.encoded is not None and values is None:
        return replace(resolved, mechanism=mechanism.encoded(encode))
    raise Refused(
        f"{variant} takes no position_encoding ({position_encoding!r}): it has no logits of pairs to put it in. "
        "Use variant scaled_dot, or an encoding of the token embeddings, such as sinusoidal."
    )


def _with_values(score: Score, values: Callable[[Array, Given], Array]) -> Composition:
    """Returns a mechanism with what its weights make of positions added to its output."""

    def run(problem: Problem, solve: Solve) -> AttentionOutput:
        asked = (*problem.outputs, *(one for one in ("out", "weights") if one not in problem.outputs))
        result = solve(part(problem, score, name="whose weights its values need", outputs=asked))
        assert result.weights is not None
        # NaN stays in `out`: multiplied by a cotangent of 0 it would reach the gradients of the arrays.
        weights = jnp.where(jnp.isnan(result.weights), 0, result.weights)
        out = to_statistics(result.out) + values(weights, problem.given)
        kept = result.weights if "weights" in problem.outputs else None
        return replace(result, out=out.astype(result.out.dtype), weights=kept)

    return around(score, run)


def embed_positions(
    hidden: Float[Array, "B T D"],
    positions: Int[Array, "b T"] | None = None,
    *,
    position_encoding: str = "sinusoidal",
    params: Params | None = None,
) -> Float[Array, "B T D"]:
    """Returns the token embeddings with their positions in them, in their dtype.

    Args:
      hidden: [B, T, D], the token embeddings.
      positions: int [B or 1, T], where each token stands; by default 0, 1, 2 ...
      position_encoding: a spec such as "sinusoidal" or "learned:length=512".
      params: its own arrays, as `made` makes them from `lookup_position(spec).made.arrays`.

    Raises:
      Refused: shapes do not fit, an array is missing, or the encoding is one of logits.
    """
    made = lookup_position(position_encoding).made
    if made.embed is None:
        raise Refused(f"{position_encoding} is of logits: give it to attend, or use position_encoding='sinusoidal'.")
    batch, tokens, width = hidden.shape
    if positions is not None:
        positions = whole_numbers(positions, owner="the positions")
        if positions.shape not in ((batch, tokens), (1, tokens)):
            raise Refused(f"positions have shape {positions.shape}: give int [{batch} or 1, {tokens}].")
    maker = "made(lookup_position(spec).made.arrays, rng, SequenceSizes(width))"
    params = fitting(position_encoding, made.arrays, params, SequenceSizes(width, None), maker=maker)
    return made.embed(hidden, positions, params).astype(hidden.dtype)


def counted(positions: Int[Array, "b T"] | None, tokens: int) -> Int[Array, "b T"]:
    """Returns the positions of `Position.embed`, 0, 1, 2 ... where none are given."""
    return jnp.arange(tokens)[None] if positions is None else positions


def check_dot_products(position_encoding: str, mechanism: Score) -> None:
    """Checks that a mechanism's logits are dot products of prepared queries and keys.

    Raises:
      Refused: they are not, and the position encoding is for such alone.
    """
    if mechanism.pairwise is not dot:
        raise Refused(
            f"{position_encoding} is for logits that are dot products: use variant scaled_dot, or "
            "position_encoding='alibi'."
        )


def scaled(mechanism: Score, query: Array, key: Array, given: Given) -> Float[Array, "B N T S"]:
    """Returns a mechanism's logits of prepared queries and keys before bias and cap, its scale in them.

    A power of two goes into the query, which rounds nothing, so that products overflow no sooner than logits do.
    """
    scale = scale_of(mechanism, query.shape[-1])
    if mechanism.pairwise is not dot or not 0 < abs(scale) <= 1:
        return mechanism.pairwise(query, key, given) * scale
    power = 2.0 ** (math.frexp(scale)[1] - 1)
    return dot(query * power, key, given) * (scale / power)


def where_it_stands(mechanism: Score, placed: Callable[[Array, Int[Array, "b T"], Given], Array]) -> Score:
    """Returns a mechanism whose prepared queries and keys are changed by their positions.

    Args:
      mechanism: any score.
      placed: (q' or k', the position of each, given) -> the same with its position in it.
    """

    def query(array: Array, given: Given) -> Array:
        assert given.place is not None
        return placed(mechanism.prepare_query(array, given), given.place.query, given)

    def key(array: Array, given: Given) -> Array:
        assert given.place is not None
        return placed(mechanism.prepare_key(array, given), given.place.key, given)

    return replace(mechanism, prepare_query=query, prepare_key=key)


def distances(given: Given) -> Int[Array, "b t s"]:
    """Returns i - j for the positions of a block's queries and keys."""
    assert given.place is not None
    return given.place.query[:, :, None] - given.place.key[:, None, :]


def picked(columns: Float[Array, "B t N R"], index: Int[Array, "b t s"]) -> Float[Array, "B N t s"]:
    """Returns, for each pair, the entry of a query's columns that its index names, in the dtype of statistics."""
    columns = to_statistics(columns).swapaxes(1, 2)
    index = jnp.broadcast_to(index[:, None], (*columns.shape[:3], index.shape[-1]))
    return jnp.take_along_axis(columns, index, axis=-1, mode="promise_in_bounds")


def with_bias(mechanism: Score, bias: Callable[[Given], Array], *per_head: str, shared: tuple[str, ...] = ()) -> Score:
    """Returns a mechanism with a term added to its scaled logits that depends on positions alone.

    Args:
      mechanism: any score.
      bias: given -> [b or 1, N, t, s].
      *per_head: the names of the arrays that `bias` reads of each head, each [N, ...].
      shared: the names of those that it reads whole.
    """

    def pairwise(query: Array, key: Array, given: Given) -> Array:
        logits = scaled(mechanism, query, key, given)
        return logits + bias(given).astype(logits.dtype)

    per_head, shared = (*mechanism.per_head, *per_head), (*mechanism.shared, *shared)
    return replace(mechanism, pairwise=pairwise, scale=1.0, per_head=per_head, shared=shared)
