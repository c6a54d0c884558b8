"""Mechanisms whose weights depend on those of earlier queries: a decoder that remembers where it has looked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Array, Bool, Float

from attention_jax.kernels.mechanism import Given, Mechanism, unchanged


class Looked(NamedTuple):
    """What a step returns.

    Attributes:
      weights: [B, N, S]; those of hidden keys are not used.
      state: for the next query, a tree of arrays [B, N, ...].
      aux: what is reported of the step, by name, each [B, N].
    """

    weights: Float[Array, "B N S"]
    state: Any
    aux: dict[str, Array] = {}  # noqa: RUF012


@dataclass(frozen=True, kw_only=True)
class Alignment(Mechanism):
    """out_t = sum_j w_tj v_j, where w_t is made of the query, the keys and what the queries before have left.

    Queries come in their order in the array. One that sees no key leaves the state as it is. What one sees, those after
    it feel by the state, whether they see it or not: NaN too.

    Attributes:
      prepare_query: (query [B, T, N, H], given) -> q' [B, T, N, P], token by token.
      prepare_key: (key [B, S, K, J], given) -> k' [B, S, K, P], once.
      start: (k', heads, given) -> the state before the first query, a tree of arrays [B, N, ...].
      step: (state, q'_t [B, N, P], k', visible [B, N, S], given) -> `Looked`; given's place is that of the query.
      parallel: (q', k', visible [B, N, T, S], given) -> all weights [B, N, T, S] from the start, where the mathematics
        has such a form; None where it has none.
    """

    usual: ClassVar[dict[str, Any]] = {**Mechanism.usual, "order_free": False, "rows_apart": False}
    reference: ClassVar[str] = "stepwise"

    prepare_query: Callable[[Array, Given], Array] = unchanged
    prepare_key: Callable[[Array, Given], Array] = unchanged
    start: Callable[[Array, int, Given], Any]
    step: Callable[[Any, Array, Array, Bool[Array, "B N S"], Given], Looked]
    parallel: Callable[[Array, Array, Bool[Array, "B N T S"], Given], Array] | None = None
