"""softmax(q_i . k_j / sqrt(H) + D_ij), D_ij = sum_{j < l <= i} log sigmoid(gate_l): Lin et al. 2025 (FoX), section 3.

Each token says, for each head, how much of what was before it is kept. D is the difference of two running sums, by
position, in each document for itself, without what padding hides. At the end of a long sequence both are so large that
float32 rounds small differences away, so each sum is two numbers, of which the second is what the first has lost. The
paper has no other encoding of positions.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from attention_jax.kernels.arrays import PER_HEAD, PerToken
from attention_jax.kernels.composition import Composition, Solve, part
from attention_jax.kernels.mask import Segments
from attention_jax.kernels.mask_algebra import terms
from attention_jax.kernels.mechanism import Given, SoftmaxScore, statistics_dtype, to_statistics
from attention_jax.kernels.position import scaled
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.registry import Claims, Source, register

PLAIN = SoftmaxScore(scale=None)

# A number, and what it has rounded away.
Pair = tuple[Array, Array]


def _query(query: Array, given: Given) -> Float[Array, "B T N P"]:
    kept = jnp.repeat(given.per_token["until_query"], query.shape[2] // given.per_token["until_query"].shape[2], axis=2)
    return jnp.concatenate([to_statistics(query), kept], axis=-1)


def _key(key: Array, given: Given) -> Float[Array, "B S K P"]:
    return jnp.concatenate([to_statistics(key), given.per_token["until_key"]], axis=-1)


def _pairwise(query: Array, key: Array, given: Given) -> Float[Array, "B N T S"]:
    of_query = query[..., -2:].transpose(0, 2, 1, 3)[..., None, :]
    of_key = jnp.repeat(key[..., -2:], query.shape[2] // key.shape[2], axis=2).transpose(0, 2, 1, 3)[:, :, None]
    return scaled(PLAIN, query[..., :-2], key[..., :-2], given) + (of_query - of_key).sum(-1)


SCORE = replace(
    PLAIN,
    prepare_query=_query,
    prepare_key=_key,
    pairwise=_pairwise,
    scale=1.0,
    per_token={"until_query": PerToken(("K", 2), of="query"), "until_key": PerToken(("K", 2))},
)


def _run(problem: Problem, solve: Solve) -> AttentionOutput:
    given, gate = problem.given, problem.per_token["gate"]
    dtype = statistics_dtype(problem.query.dtype)
    log_kept = jax.nn.log_sigmoid(given.per_token["gate"].astype(dtype))
    if given.real is not None:
        log_kept = jnp.where(given.real[..., None], log_kept, 0)
    until_key, until_query = _sums(problem, log_kept)
    # A gate that is not finite goes on as one of 0, and with it the token as one that is not finite.
    until_key = jnp.where(jnp.isfinite(gate)[..., None], until_key, jnp.nan)
    per_token = {"until_query": until_query, "until_key": until_key}
    return solve(part(problem, SCORE, name="by what is kept", per_token=per_token, outputs=problem.outputs))


def _sums(problem: Problem, amounts: Float[Array, "B S K"]) -> tuple[Float[Array, "B S K 2"], Float[Array, "B T K 2"]]:
    """The sum of the amounts of all keys up to each key, and up to each query, by position, in its own segment."""
    (batch, keys), queries = amounts.shape[:2], problem.query.shape[1]
    key, query = problem.key_axis, problem.query_axis
    # Where nobody says otherwise, the queries are the tokens that the keys are, in their order.
    same = problem.positions is None and problem.share is None and queries == keys

    def both(of_keys: Array, of_queries: Array) -> Int[Array, "B n"]:
        sides = ((of_keys, keys),) if same else ((of_keys, keys), (of_queries, queries))
        return jnp.concatenate([jnp.broadcast_to(side, (batch, tokens)) for side, tokens in sides], axis=1)

    rules = [rule for rule in terms(problem.mask) if isinstance(rule, Segments)]
    ids = [both(rule.key_ids[:, key.index], rule.query_ids[:, query.index]) for rule in rules]
    # A query comes after the key at its own position.
    is_query = both(jnp.zeros((1, keys), jnp.int32), jnp.ones((1, queries), jnp.int32))
    columns = ids if same else [is_query, both(key.position, query.position), *ids]
    if not columns:
        sums = _running(amounts, jnp.zeros((batch, keys, 1), bool))
        return sums, sums
    # The barrier keeps XLA from sorting, for seconds, while it compiles.
    order = jnp.lexsort(jax.lax.optimization_barrier(tuple(columns)), axis=-1)
    starts = jnp.zeros(order.shape, bool)
    for one in ids:
        in_order = jnp.take_along_axis(one, order, axis=1)
        starts = starts.at[:, 1:].set(starts[:, 1:] | (in_order[:, 1:] != in_order[:, :-1]))
    padded = jnp.pad(amounts, [(0, 0), (0, order.shape[1] - keys), (0, 0)])
    sums = _running(jnp.take_along_axis(padded, order[..., None], axis=1), starts[..., None])
    back = jnp.take_along_axis(sums, jnp.argsort(order, axis=1)[..., None, None], axis=1)
    return back[:, :keys], back[:, -queries:]


def _running(amounts: Float[Array, "B n K"], starts: Bool[Array, "B n 1"]) -> Float[Array, "B n K 2"]:
    """The sum of all amounts so far since the last start, as a number and what it has rounded away."""

    def joined(left: tuple[Pair, Array], right: tuple[Pair, Array]) -> tuple[Pair, Array]:
        ((a, less_a), started), ((b, less_b), starts) = left, right
        total = a + b
        rest = total - a
        rounded = jax.lax.stop_gradient((a - (total - rest)) + (b - rest))
        return (jnp.where(starts, b, total), jnp.where(starts, less_b, less_a + less_b + rounded)), started | starts

    (total, less), _ = jax.lax.associative_scan(joined, ((amounts, jnp.zeros_like(amounts)), starts), axis=1)
    return jnp.stack([total, less], axis=-1)


@register(
    source=Source(
        "Forgetting Transformer: Softmax Attention with a Forget Gate",
        "section 3",
        authors="Lin, Zhixuan and Nikishin, Evgenii and He, Xu Owen and Courville, Aaron",
        year=2025,
        venue="ICLR 2025",
        arxiv="2503.02130",
    ),
    claims=Claims(bidirectional=False, convex=True, masks=("Causal", "Padding", "Segments")),
    aliases=("fox",),
)
def forgetting() -> Composition:
    """Softmax of scaled dot products that fade by what each token after the key says is kept (FoX)."""
    return Composition(run=_run, per_token={"gate": PER_HEAD})
