"""One call of `attend`, checked and put into one value that every engine reads."""

from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from attention_jax.kernels.mask import Padding
from attention_jax.kernels.mask_algebra import Axis, Mask, terms
from attention_jax.kernels.mechanism import Given, Params, Place
from attention_jax.kernels.registry import Variant

OUTPUTS = ("out", "weights", "logits", "lse", "state", "aux")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AttentionOutput:
    """What `attend` returns; what was not asked for is None.

    Attributes:
      out: [B, T, N, Hv], in the dtype of the query. A query that sees no key has 0.
      weights: [B, N, T, S], float32, after dropout. A query that sees no key has 0.
      lse: [B, N, T], float32, the log of the sum of the exponentiated logits. A query that sees no key has -inf.
      state: what a variant with a recurrent form carries on to the next tokens.
      logits: [B, N, T, S], float32, what the weights are made of; -inf for hidden keys.
      aux: what a variant reports of its own choices (a log-probability, a routing loss), by name.
    """

    out: Float[Array, "B T N Hv"]
    weights: Float[Array, "B N T S"] | None = None
    lse: Float[Array, "B N T"] | None = None
    state: Any = None
    aux: dict[str, Array] | None = None
    logits: Float[Array, "B N T S"] | None = None


@dataclass(frozen=True)
class Share:
    """Which part of a larger problem one device holds.

    Attributes:
      query: [T], the index of each query in the whole.
      key: [S], the index of each key.
      sequence: the number of the first sequence.
      head: the number of the first query head.
    """

    query: Int[Array, " T"]
    key: Int[Array, " S"]
    sequence: Int[Array, ""] | int = 0
    head: Int[Array, ""] | int = 0


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The arguments of `attend` after checking: shapes fit, the mask is one tree, positions are arrays or None.

    Attributes are those of `attend`; `score_mod` is traced and `captures` are the arrays it closes over; `positions` is
    the pair (query [B or 1, T], key [B or 1, S]) or None for 0, 1, 2 ... on both sides. `share` says which part of a
    larger problem it is, whose indices the mask and the positions go by, or None for all.
    """

    variant: Variant
    query: Float[Array, "B T N H"]
    key: Float[Array, "B S K J"]
    value: Float[Array, "B S K Hv"]
    params: Params
    mask: Mask | None
    bias: Float[Array, "b n T S"] | None
    score_mod: Any
    captures: tuple[Array, ...]
    per_token: dict[str, Array]
    positions: tuple[Int[Array, "b T"], Int[Array, "b S"]] | None
    rng: PRNGKeyArray | None
    dropout_rate: float
    state: Any
    outputs: tuple[str, ...]
    share: Share | None = None
    grid: tuple[int, int] | None = None

    @property
    def query_axis(self) -> Axis:
        """The queries, for the mask."""
        return self._axis(0, self.share.query if self.share else jnp.arange(self.query.shape[1]))

    @property
    def key_axis(self) -> Axis:
        """The keys, for the mask."""
        return self._axis(1, self.share.key if self.share else jnp.arange(self.key.shape[1]))

    @property
    def place(self) -> Place:
        """Where all queries and keys stand, for a score function and for dropout."""
        batch, _, heads, _ = self.query.shape
        sequence, head = self.origin
        return Place(
            sequence + jnp.arange(batch), head + jnp.arange(heads), self.query_axis.position, self.key_axis.position
        )

    @property
    def given(self) -> Given:
        """What the callables of the mechanism have beside query and key; 0 stands for what is not finite."""
        per_token = {name: jnp.where(jnp.isfinite(array), array, 0) for name, array in self.per_token.items()}
        return Given(self.params, per_token, self.place, self.rng, self._real)

    @property
    def real(self) -> Bool[Array, "B S"]:
        """The keys that padding leaves: all where there is none."""
        return jnp.ones(self.key.shape[:2], bool) if self._real is None else self._real

    @property
    def _real(self) -> Bool[Array, "B S"] | None:
        paddings = [rule for rule in terms(self.mask) if isinstance(rule, Padding)]
        if not paddings:
            return None
        real = reduce(and_, [rule.valid(self.key_axis.index) for rule in paddings])
        return jnp.broadcast_to(real, self.key.shape[:2])

    @property
    def origin(self) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """The number of the first sequence and of the first query head."""
        first = (self.share.sequence, self.share.head) if self.share else (0, 0)
        return jnp.asarray(first[0]), jnp.asarray(first[1])

    def _axis(self, side: int, index: Int[Array, " t"]) -> Axis:
        return Axis(index, index[None] if self.positions is None else self.positions[side][:, index])
