"""Attention by locality-sensitive hashing, Reformer: Kitaev et al. 2020, section 2 and appendix A.

Keys are the queries, divided by their lengths; the argument `key` is not looked at, and the recipe projects none
(section 2, shared-QK). In each round a token's bucket is argmax [q R; -q R] for a random R of its own. Tokens are
sorted by bucket, then by position, and cut into chunks; each sees its own chunk and the one before it, whatever their
buckets (the paper's set P~_i). A key met in several rounds counts once: its logit is lessened by the log of how often
(appendix A), and rounds are merged by their normalisers. A token sees itself only where no round shows it another.

Where paper and code disagree: the paper writes q . k without a scale, "for clarity"; here as in the authors' code
(trax) a key has length 1 and there is no other scale, where reformer-pytorch divides by sqrt(H) too. Published codes
let the first chunk look at the last, reformer-pytorch and transformers also at another round's; in P~_i there is
nothing before the first. In transformers a key met in several rounds counts in each. They hide a token from itself by a
logit of -5e4 or -1e5, which costs float32 its digits; here it is left out.

Under a causal mask no value of the future is seen, but tokens of the future move those of the past to other chunks.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import normal
from attention_jax.kernels.block_choice import as_sequences
from attention_jax.kernels.composition import Composition, Solve, on_other_tokens, past_nan
from attention_jax.kernels.mask_algebra import Dense
from attention_jax.kernels.mechanism import SoftmaxScore, statistics_dtype, to_statistics, unit
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.recipe import Recipe
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.softmax import masked_softmax


@register(
    source=Source(
        "Reformer: The Efficient Transformer",
        "section 2, appendix A",
        authors="Kitaev, Nikita and Kaiser, Łukasz and Levskaya, Anselm",
        year=2020,
        venue="ICLR 2020",
        arxiv="2001.04451",
    ),
    claims=Claims(
        causal="approximate",
        time="linear",
        cross=False,
        bias=False,
        dropout=False,
        weights=False,
        lse=False,
        weighted="some",
        order_free=False,
        rows_apart=False,
        convex=True,
        masks=("Causal", "Padding"),
        tried="reformer_lsh:rounds=2,buckets=4,chunk=1",
    ),
    recipe=Recipe(shared_query_key=True),
)
def reformer_lsh(*, rounds: int = 4, buckets: int = 32, chunk: int = 64) -> Composition:
    """Softmax attention of each token to those that a hash puts near it.

    Args:
      rounds: how many times tokens are hashed, 2 to 8 in the paper.
      buckets: how many there are, an even number; about as many as there are chunks.
      chunk: tokens in a chunk, the paper's m.

    Raises:
      Refused: an option is smaller than 1, or `buckets` is odd.
    """
    for name, number in (("rounds", rounds), ("buckets", buckets), ("chunk", chunk)):
        if number < 1:
            raise Refused(f"reformer_lsh:{name}={number} must be a whole number of at least 1.")
    if buckets % 2:
        raise Refused(f"reformer_lsh:buckets={buckets} is odd: a bucket is a direction or its opposite; give 2, 4 ...")

    def run(problem: Problem, solve: Solve) -> AttentionOutput:
        order = _orders(problem)
        chunk_of = jnp.argsort(order) // chunk
        query = problem.query.swapaxes(1, 2)
        heads = query.shape[1] // problem.value.shape[2]
        value = jnp.repeat(problem.value.swapaxes(1, 2), heads, axis=1)
        arrays = (query, unit(query).astype(query.dtype), value)

        def of_round(order: Int[Array, "B N T"]) -> tuple[Array, Array]:
            mine, theirs = _slots(order, chunk)
            visible, counts = _pairs(problem, chunk_of, mine, theirs)
            of_query, of_key, of_value = (
                as_sequences(array, at) for array, at in zip(arrays, (mine, theirs, theirs), strict=True)
            )
            part = on_other_tokens(
                problem,
                SoftmaxScore(),
                name="chunks of a round",
                query=of_query,
                key=of_key,
                value=of_value,
                mask=Dense(_folded(visible)[:, None]),
                bias=-jnp.log(_folded(counts)[:, None].astype(statistics_dtype(query.dtype))),
                outputs=("out", "lse"),
            )
            result = solve(part)
            assert result.lse is not None
            back = jnp.argsort(order)
            out = result.out.reshape(*order.shape[:2], -1, value.shape[-1])
            lse = result.lse.reshape(*order.shape[:2], -1)
            return jnp.take_along_axis(out, back[..., None], axis=2), jnp.take_along_axis(lse, back, axis=2)

        out, lse = jax.lax.map(jax.checkpoint(of_round, prevent_cse=False), order)
        share = masked_softmax(jnp.moveaxis(lse, 0, -1), jnp.moveaxis(lse > -jnp.inf, 0, -1))
        merged = jnp.einsum("bntr,rbnth->bnth", share, to_statistics(out))
        alone = problem.real[:, None] & (lse == -jnp.inf).all(0)
        merged = jnp.where(alone[..., None], to_statistics(value), merged)
        return AttentionOutput(out=merged.swapaxes(1, 2).astype(problem.query.dtype))

    rotations = normal("N", rounds, "H", buckets // 2, fan_in=(), trained=False)
    return Composition(run=past_nan(run), arrays={"rotations": rotations})


def _orders(problem: Problem) -> Int[Array, "r B N T"]:
    """The tokens of each round and head by bucket, then by position, those that padding hides last."""
    query = to_statistics(jax.lax.stop_gradient(problem.query))
    rotated = jnp.einsum("btnh,nrhd->rbntd", query, problem.params["rotations"].astype(query.dtype))
    bucket = jnp.concatenate([rotated, -rotated], axis=-1).argmax(-1)
    position = jnp.broadcast_to(problem.key_axis.position[None, :, None], bucket.shape)
    hidden = jnp.broadcast_to(~problem.real[None, :, None], bucket.shape)
    return jnp.lexsort((position, bucket, hidden))


def _slots(order: Int[Array, "B N T"], chunk: int) -> tuple[Int[Array, "B N c m"], Int[Array, "B N c s"]]:
    """The tokens of each chunk, and those of the one before it with them; T where there is none."""
    batch, heads, tokens = order.shape
    filled = jnp.pad(order, ((0, 0), (0, 0), (0, -tokens % chunk)), constant_values=tokens)
    mine = filled.reshape(batch, heads, -1, chunk)
    before = jnp.pad(mine, ((0, 0), (0, 0), (1, 0), (0, 0)), constant_values=tokens)[:, :, :-1]
    return mine, jnp.concatenate([before, mine], axis=-1)


def _pairs(
    problem: Problem, chunk_of: Int[Array, "r B N T"], mine: Int[Array, "B N c m"], theirs: Int[Array, "B N c s"]
) -> tuple[Bool[Array, "B N c m s"], Int[Array, "B N c m s"]]:
    """Whether each token sees each of the others near it, and in how many rounds they meet, at least 1."""
    tokens = chunk_of.shape[-1]

    def at(array: Array, slots: Array) -> Array:
        flat = slots.reshape(*slots.shape[:2], -1)
        array = jnp.broadcast_to(array, (*slots.shape[:2], tokens))
        return jnp.take_along_axis(array, flat, axis=2, mode="clip").reshape(slots.shape)

    real = at(problem.real[:, None], theirs) & (theirs < tokens)
    visible = real[..., None, :] & (mine[..., :, None] != theirs[..., None, :])
    if problem.mask is not None and problem.mask.causal:
        of_query, of_key = (
            at(axis.position[:, None], slots)
            for axis, slots in ((problem.query_axis, mine), (problem.key_axis, theirs))
        )
        visible = visible & (of_key[..., None, :] <= of_query[..., :, None])

    def meet(count: Array, chunks: Int[Array, "B N T"]) -> tuple[Array, None]:
        apart = at(chunks, mine)[..., :, None] - at(chunks, theirs)[..., None, :]
        return count + ((apart == 0) | (apart == 1)).astype(count.dtype), None

    counts, _ = jax.lax.scan(meet, jnp.zeros(visible.shape, jnp.int32), chunk_of)
    return visible, jnp.maximum(counts, 1)


def _folded(pairs: Array) -> Array:
    return pairs.reshape(-1, *pairs.shape[3:])
