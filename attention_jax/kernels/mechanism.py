"""What an attention mechanism is made of: the few shapes of computation that the engines know how to run.

A variant's file says WHAT by returning one of these; an engine (`engines/`) says HOW. Each callable of a mechanism
takes `given` last: all that it may need beside the arrays that it is about.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from attention_jax.base.errors import Refused
from attention_jax.kernels.arrays import Declared, Params, PerToken, Sizes
from attention_jax.kernels.mask_algebra import Mask


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Place:
    """Where a rectangle lies, for a score function and for dropout.

    Attributes:
      batch: [b], the number of each sequence.
      heads: [n], the number of each query head.
      query: [b or 1, t], positions.
      key: [b or 1, s], positions.
    """

    batch: Int[Array, " b"]
    heads: Int[Array, " n"]
    query: Int[Array, "b t"]
    key: Int[Array, "b s"]


class Given(NamedTuple):
    """What a callable of a mechanism has beside the arrays that it is about.

    Attributes:
      params: the mechanism's own arrays, trained and drawn.
      per_token: what it takes of each token beside query, key and value, by name, as `Mechanism.per_token` declares it.
      place: where the queries and keys stand; None for a part of the computation that goes by no positions.
      rng: a key for what is drawn at each call; None where nothing is.
      real: [B, S], the keys that padding leaves, for what goes over several tokens at once; None where all are.
    """

    params: Params
    per_token: dict[str, Array] = {}  # noqa: RUF012
    place: Place | None = None
    rng: PRNGKeyArray | None = None
    real: Bool[Array, "B S"] | None = None


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """What every mechanism has.

    Attributes:
      arrays: those of its own, by name, trained and drawn.
      mask: a rule of its own, that holds together with the caller's; or a function of the sizes that returns it.
      draws: whether it draws at each call, from `given.rng`; without a key it takes what is likeliest.
      per_token: arrays that it takes of each token beside query, key and value (a gate), by name.
    """

    # What a mechanism of the kind claims unless its own file says otherwise, and the engine that others are held to.
    usual: ClassVar[dict[str, Any]] = {
        "order_free": True, "heads_apart": True, "rows_apart": True, "convex": True, "time": "quadratic",
    }  # fmt: skip
    reference: ClassVar[str] = "dense"

    arrays: dict[str, Declared] = field(default_factory=dict, hash=False)
    mask: Mask | Callable[[Sizes], Mask] | None = None
    draws: bool = False
    per_token: dict[str, PerToken] = field(default_factory=dict, hash=False)

    def own_mask(self, sizes: Sizes) -> Mask | None:
        """Returns its rule for these sizes."""
        return self.mask if self.mask is None or isinstance(self.mask, Mask) else self.mask(sizes)


def dot(query: Float[Array, "B T N H"], key: Float[Array, "B S K H"], given: Given) -> Float[Array, "B N T S"]:
    """Returns q_i . k_j in float32 (float64 for float64), query head n with key head n // (N/K)."""
    batch, queries, heads, width = query.shape
    keys, kv_heads = key.shape[1:3]
    # The small arrays are transposed here, so that the large one comes out of the product as it is wanted.
    grouped = query.reshape(batch, queries, kv_heads, heads // kv_heads, width).transpose(0, 2, 3, 1, 4)
    by_head = key.transpose(0, 2, 1, 3)
    logits = jnp.einsum("bkgth,bksh->bkgts", grouped, by_head, preferred_element_type=statistics_dtype(query.dtype))
    return logits.reshape(batch, heads, queries, keys)


def unchanged(array: Float[Array, "B T N H"], given: Given) -> Float[Array, "B T N H"]:
    """The `prepare_query` and the `prepare_key` of a mechanism that takes queries and keys as they are."""
    return array


@dataclass(frozen=True, kw_only=True)
class Score(Mechanism):
    """A mechanism of logits z_ij = cap(scale * pairwise(q'_i, k'_j) + bias), one for each pair of query and key.

    What depends on one token alone belongs in q' = prepare_query(q) and k' = prepare_key(k), which run once; `pairwise`
    may be called on any block of queries and keys.

    Attributes:
      prepare_query: (query [B, T, N, H], given) -> q' [B, T, N, P].
      prepare_key: (key [B, S, K, J], given) -> k' [B, S, K, P].
      pairwise: (q', k', given) -> float32 [B, N, T, S]; given are the params named in `per_head`, of these heads, and
        in `shared`, and where the block lies. What depends on the pair enters here: a bias by distance, an entry of a
        table that q' brings along.
      per_head: the params that `pairwise` reads of each head, each [N, ...].
      shared: those that it reads whole, the same for all heads.
      scale: multiplies what `pairwise` returns; None is 1 / sqrt(P).
      soft_cap: c of c tanh(logit / c), taken after the bias; None for no cap.
    """

    prepare_query: Callable[[Array, Given], Array] = unchanged
    prepare_key: Callable[[Array, Given], Array] = unchanged
    pairwise: Callable[[Array, Array, Given], Array] = dot
    per_head: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    scale: float | None = 1.0
    soft_cap: float | None = None


@dataclass(frozen=True, kw_only=True)
class SoftmaxScore(Score):
    """out_i = sum_j softmax_j(z_ij) v_j."""


class Rows(NamedTuple):
    """Some queries with all their logits.

    Attributes:
      logits: [B, N, t, S]; those of hidden keys are finite and stand for nothing.
      visible: [B, N, t, S], which keys each query sees.
      query: [B, t, N, P], prepared.
      key: [B, S, K, R], prepared.
      carry: what the queries before them tell; None for a mechanism that has no carry.
    """

    logits: Float[Array, "B N t S"]
    visible: Bool[Array, "B N t S"]
    query: Float[Array, "B t N P"]
    key: Float[Array, "B S K R"]
    carry: Any = None


@dataclass(frozen=True, kw_only=True)
class RowScore(Score):
    """out_i = sum_j w_ij v_j, where the weights of a query are made of all of its logits together.

    Queries come some at a time, in their order. What those before must tell those after is the carry.

    Attributes:
      normalise: (rows, given) -> their weights [B, N, t, S], and the carry for the queries after them. What is returned
        for hidden keys is not used.
      report: (rows, weights, given) -> what goes into `aux`, by name, each [B, N, t]; None for nothing.
      start: (rows) -> the carry before the first query, from rows whose own carry is None; None for no carry.
    """

    normalise: Callable[[Rows, Given], tuple[Array, Any]]
    start: Callable[[Rows], Any] | None = None
    report: Callable[[Rows, Array, Given], dict[str, Array]] | None = None


@dataclass(frozen=True)
class Features:
    """Non-negative features of each token, exp(log_scale) taken out of them so that they neither over- nor underflow.

    Attributes:
      values: float32 [B, T, N, M].
      log_scale: float32 [B, T, N]; the features are `values * exp(log_scale)[..., None]`.
    """

    values: Float[Array, "B T N M"]
    log_scale: Float[Array, "B T N"]


@dataclass(frozen=True, kw_only=True)
class FeatureMap(Mechanism):
    """out_i = sum_j (phi_q(q_i) . phi_k(k_j)) v_j / sum_j phi_q(q_i) . phi_k(k_j): linear in the number of tokens.

    Attributes:
      query_features: (query [B, T, N, H], given) -> Features; their scale cancels.
      key_features: (key [B, S, K, H], given) -> Features.
    """

    usual: ClassVar[dict[str, Any]] = {**Mechanism.usual, "time": "linear"}

    query_features: Callable[[Array, Given], Features]
    key_features: Callable[[Array, Given], Features]


@dataclass(frozen=True, kw_only=True)
class LinearRecurrence(Mechanism):
    """out_i = S_i^T q'_i, where S_i [J, Hv] is written by the tokens that the query sees.

    q' = prepare_query(q), k' = prepare_key(k). In their order, from S = 0, "additive": S_t = diag(a_t) S_{t-1} +
    b_t k'_t v_t^T; "delta": the value that the state gives for the key is taken out first, S_t = (I - b_t k'_t k'_t^T)
    diag(a_t) S_{t-1} + b_t k'_t v_t^T. With `erase` other keys than the one that is written do so, S_t = (I - e_t
    c_t^T) diag(a_t) S_{t-1} + b_t k'_t v_t^T: the delta rule has c = k', e = b k'. There is no normaliser: what
    steadies the size of the output, a norm of each head, is of the variant's recipe.

    Attributes:
      prepare_query: (query [B, T, N, H], given) -> q', token by token.
      prepare_key: (key [B, S, K, J], given) -> k', token by token.
      log_decay: (key [B, S, K, J], given) -> log a_t, not above 0, [B or 1, S or 1, K] for one of each head, with a
        last axis J for one of each channel; None for no decay.
      strength: given -> b_t, [B or 1, S or 1, K]; None for 1.
      update: how a token is written.
      erase: (key [B, S, K, J], given) -> (c, e), each [B, S, K, J], token by token; None for none. It goes with an
        additive update.
    """

    usual: ClassVar[dict[str, Any]] = {**Mechanism.usual, "order_free": False, "convex": False, "time": "linear"}
    reference: ClassVar[str] = "recurrence"

    prepare_query: Callable[[Array, Given], Array] = unchanged
    prepare_key: Callable[[Array, Given], Array] = unchanged
    log_decay: Callable[[Array, Given], Array] | None = None
    strength: Callable[[Given], Array] | None = None
    update: Literal["additive", "delta"] = "additive"
    erase: Callable[[Array, Given], tuple[Array, Array]] | None = None

    def __post_init__(self) -> None:
        if self.erase is not None and self.update != "additive":
            raise Refused(f"update={self.update!r} erases by the key that it writes: leave `erase` out, or the update.")


def statistics_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """Returns what scores, normalisers and sums are kept in: float64 for float64, float32 for all else."""
    return jnp.dtype(jnp.float64 if dtype == jnp.float64 else jnp.float32)


def widest(*dtypes: jnp.dtype) -> jnp.dtype:
    """Returns the narrowest floating dtype that holds what any of these can: float32 for bfloat16 beside float16."""
    different = {jnp.dtype(dtype) for dtype in dtypes}
    return different.pop() if len(different) == 1 else max(map(statistics_dtype, different), key=lambda d: d.itemsize)


def to_statistics(array: Array) -> Array:
    """Returns the array in the dtype that statistics are kept in."""
    return array.astype(statistics_dtype(array.dtype))


def unit(array: Float[Array, "*a H"]) -> Float[Array, "*a H"]:
    """Returns vectors of length 1 in the direction of these, in the dtype of statistics.

    Vectors of any length have a direction: none is so long that its squares overflow, nor so short that they vanish.
    The zero vector stays as it is, with the identity as its derivative, so that it can become another one.
    """
    array = to_statistics(array)
    limits = jnp.finfo(array.dtype)
    largest = jax.lax.stop_gradient(jnp.abs(array).max(-1, keepdims=True))
    # Divided by a power of two near the largest entry, which rounds nothing.
    power = jax.lax.reduce_precision(jnp.minimum(largest, limits.max / 4), limits.nexp, 0)
    array = array / jnp.where(largest > 0, power, 1)
    squares = jnp.sum(array**2, axis=-1, keepdims=True)
    return array * jax.lax.rsqrt(jnp.where(largest > 0, squares, 1))
