"""`pool`, the one entry to every way to sum up a sequence: what a pooling is, what it claims, and those there are."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Declared, Params, SequenceSizes, fitting, made
from attention_jax.kernels.checks import DTYPES
from attention_jax.kernels.engines.poison import finite, nonfinite
from attention_jax.kernels.mechanism import statistics_dtype
from attention_jax.kernels.sequences import Real, cleaned, real_tokens, settled
from attention_jax.kernels.source import Source
from attention_jax.kernels.specs import Build, Chosen, Kind
from attention_jax.kernels.supported import check_jax


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pooled:
    """A sequence summed up.

    Attributes:
      out: [B, E], in the dtype of the sequence. A sequence without a real token has 0.
      weights: [B, R, T], float32, how much of each token is in each of R means; None for a pooling that has none.
      aux: what else it reports, by name, such as a penalty [B], float32.
    """

    out: Float[Array, "B E"]
    weights: Float[Array, "B R T"] | None = None
    aux: dict[str, Array] = field(default_factory=dict)


class PoolingGiven(NamedTuple):
    """What a pooling has beside the tokens.

    Attributes:
      params: its own arrays, in the dtype of the tokens.
      visible: [B, T], which tokens are real; there may be none. None, to a careful pooling: all are.
      query: [B, Q], what the sequence is asked; None where nothing is.
    """

    params: Params
    visible: Any
    query: Float[Array, "B Q"] | None = None


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """A way to sum up a sequence.

    Attributes:
      pool: (hidden [B, T, D], given) -> Pooled, all of it float32 (float64 for float64). Hidden tokens are 0 in it, and
        what it returns for a sequence without a real one is not used.
      arrays: its own arrays by name; the letters of their axes are D, the width of a token, and Q, that of a query.
      takes_query: whether it takes a query.
      careful: whether `pool` itself leaves out hidden tokens, whatever they hold, and gives 0 where there is no other;
        it then has the tokens and the mask as they are given.
      without_query: what it is where no query is given; None where it needs one.
    """

    pool: Callable[[Array, PoolingGiven], Pooled]
    arrays: dict[str, Declared] = field(default_factory=dict, hash=False)
    takes_query: bool = False
    careful: bool = False
    without_query: "Pooling | None" = None


@dataclass(frozen=True, kw_only=True)
class PoolingClaims:
    """What a pooling says of itself.

    Attributes:
      order_free: the order of the tokens does not matter.
      convex: `out` is R rows of D one after the other, each the mean of the tokens by its row of the weights.
      equal_at_zero: the arrays that make all weights equal where they are 0, so that `out` is the mean of the tokens
        where it is convex; None for a pooling that cannot have equal weights.
      tried: the spec that the contract tries, whose options make it do at few tokens what it is for; None for the name
        alone.
    """

    order_free: bool = True
    convex: bool = True
    equal_at_zero: tuple[str, ...] | None = None
    tried: str | None = None


POOLINGS = Kind("pooling", Catalogue("pooling", "attention_jax.kernels.pooling"), example="mean")


def register_pooling(
    *, source: Source, claims: PoolingClaims, aliases: tuple[str, ...] = ()
) -> Callable[[Build], Build]:
    """Registers the decorated function, which returns a `Pooling`, by its name: see `Kind.register`.

    Args:
      source: where it was published.
      claims: what it says of itself.
      aliases: other names that papers and packages have for it.

    Raises:
      Refused: another pooling has the name.
    """
    return POOLINGS.register(source=source, claims=claims, aliases=aliases)


@functools.lru_cache(maxsize=1024)
def lookup_pooling(spec: str) -> Chosen[Pooling]:
    """Returns the pooling that a spec chooses, such as "self_attentive:hops=4" or "my_file.py:my_pooling".

    Raises:
      Refused: the name, an option or a value is wrong; the message gives the nearest right name.
    """
    return POOLINGS.choose(spec)


def pool(
    hidden: Float[Array, "B T D"],
    *,
    pooling: str = "mean",
    params: Params | None = None,
    mask: Real = None,
    query: Float[Array, "B Q"] | None = None,
) -> Pooled:
    """Sums up each sequence by any registered pooling.

    A sequence without a real token gives 0. What is not real never touches the result, not even when it holds NaN; a
    sequence with a real token, or a query, that is not finite gives NaN. Safe under jit, grad, vmap, remat and scan.

    Args:
      hidden: [B, T, D], the tokens.
      pooling: a spec such as "mean" or "self_attentive:hops=4"; `launch.py list` shows them.
      params: the pooling's own arrays, as `pooling_init` makes them.
      mask: which tokens are real: `Padding`, or bool [B, T]. None: all are.
      query: [B, Q], for a pooling that takes one.

    Raises:
      Refused: shapes do not fit, an array is missing, or the pooling takes no query, or needs one.
    """
    check_jax()
    visible = real_tokens("hidden", hidden, mask)
    if query is not None:
        _check_query(query, hidden)
    chosen = _asked(pooling, with_query=query is not None)
    sizes = SequenceSizes(hidden.shape[-1], None if query is None else query.shape[-1])
    params = fitting(pooling, chosen.arrays, params, sizes, maker="pooling_init(spec, rng, width, query_width)")
    if chosen.careful:
        return chosen.pool(hidden, PoolingGiven(params, None if mask is None else visible, query))
    dtype = statistics_dtype(hidden.dtype)
    clean, poisoned = cleaned(hidden, visible)
    if query is not None:
        poisoned |= nonfinite(query)
        query = finite(query).astype(dtype)
    given = PoolingGiven({name: array.astype(dtype) for name, array in params.items()}, visible, query)
    pooled = settled(chosen.pool(clean, given), empty=~visible.any(-1), poisoned=poisoned)
    return Pooled(pooled.out.astype(hidden.dtype), pooled.weights, pooled.aux)


def pooling_init(spec: str, rng: PRNGKeyArray, width: int, query_width: int | None = None) -> Params:
    """Makes a pooling's own arrays, float32.

    Args:
      spec: of the pooling.
      rng: a key.
      width: D, of a token.
      query_width: Q, of a query; None for none.

    Raises:
      Refused: the pooling takes no query, or needs one.
    """
    arrays = declared_arrays(spec, with_query=query_width is not None)
    trained, drawn = made(arrays, rng, SequenceSizes(width, query_width))
    return trained | drawn


def declared_arrays(spec: str, *, with_query: bool) -> dict[str, Declared]:
    """Returns the arrays that a pooling has, with a query or without.

    Raises:
      Refused: the pooling takes no query, or needs one.
    """
    return _asked(spec, with_query=with_query).arrays


def _asked(spec: str, *, with_query: bool) -> Pooling:
    made = lookup_pooling(spec).made
    if with_query and not made.takes_query:
        raise Refused(f"{spec} takes no query: leave it out, or use pooling by_query.")
    if made.takes_query and not with_query:
        if made.without_query is None:
            raise Refused(f"{spec} needs a query [batch, width]: give one, or use pooling self_attentive.")
        return made.without_query
    return made


def _check_query(query: Array, hidden: Array) -> None:
    if query.ndim != 2 or query.shape[0] != hidden.shape[0] or not query.shape[1]:
        raise Refused(f"query has shape {query.shape}: give [{hidden.shape[0]}, width], one for each sequence.")
    if query.dtype not in DTYPES:
        raise Refused(f"query is {query.dtype}: cast it to one of {', '.join(map(str, DTYPES))}.")
