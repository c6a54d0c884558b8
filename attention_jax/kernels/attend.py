"""`attend`, the one entry to every variant and every engine, and `explain`, which says what it would do and why."""

from collections.abc import Iterable
from typing import Any, Unpack

import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from attention_jax.kernels.arrays import Params, Sizes, made
from attention_jax.kernels.checks import Arguments, Positions, checked
from attention_jax.kernels.engines.choice import Candidate
from attention_jax.kernels.mask_algebra import Mask
from attention_jax.kernels.position import encoded
from attention_jax.kernels.problem import AttentionOutput
from attention_jax.kernels.score_functions import ScoreMod
from attention_jax.kernels.solve import explained, solve


def attend(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K J"],
    value: Float[Array, "B S K Hv"],
    *,
    variant: str = "scaled_dot",
    params: Params | None = None,
    mask: Mask | Array | np.ndarray | None = None,
    bias: Float[Array, "..."] | None = None,
    score_mod: ScoreMod | None = None,
    per_token: dict[str, Array] | None = None,
    positions: Positions | None = None,
    position_encoding: str | None = None,
    segments: Int[Array, "b T"] | tuple[Int[Array, "b T"], Int[Array, "b S"]] | None = None,
    rng: PRNGKeyArray | None = None,
    dropout_rate: float = 0.0,
    state: Any = None,
    grid: tuple[int, int] | None = None,
    engine: str | None = None,
    outputs: Iterable[str] = ("out",),
) -> AttentionOutput:
    """Computes attention of any registered variant, and refuses what it cannot honour.

    A query that sees no key gives 0. A key or value that a query does not see never touches its result, not even when
    it holds NaN; a query that sees one gives NaN. Safe under jit, grad, vmap, remat and scan.

    Args:
      query: [B, T, N, H].
      key: [B, S, K, H]; N is a multiple of K, and query head n uses key head n // (N/K).
      value: [B, S, K, Hv].
      variant: a spec such as "scaled_dot" or "performer:features=256"; `names()` lists them.
      params: the variant's own arrays, as `init` makes them.
      mask: who may see whom: a mask of `attention_jax.kernels.mask`, or a bool array [T, S] or [B, N, T, S].
      bias: added to the scaled logits, broadcastable to [B, N, T, S].
      score_mod: changes each logit, after the bias: (score, batch, head, query position, key position) -> score,
        written for one pair. The arrays it closes over have gradients.
      per_token: what the variant takes of each token beside these three, such as gates; `show` lists them.
      positions: where each token stands in its sequence, int [B or 1, T], or a pair for queries and keys; by default
        0, 1, 2 ... on both sides. A mask by position needs it when T != S.
      position_encoding: how the logits are told of the positions, a spec such as "rope:base=10000"; None: they are not.
      segments: int [B, T], or a pair for queries and keys: tokens see those of their own segment, as by `Segments`.
      rng: a key for dropout.
      dropout_rate: the share of weights set to 0, in [0, 1). The choice depends on (rng, batch, head, query position,
        key position) alone, so it is the same for every engine.
      state: continues from the state that an earlier call returned.
      grid: the rows and columns that the tokens lie in, row by row, for a variant that goes by them.
      engine: an engine by name, or None for the fastest that qualifies. A named engine never falls back.
      outputs: which of "out", "weights", "logits", "lse", "state", "aux" to return.

    Returns:
      An `AttentionOutput`; `out` is [B, T, N, Hv] in the query's dtype.

    Raises:
      Refused: shapes do not fit, or the variant or the engine cannot honour an argument.
    """
    outputs = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    problem = checked(
        query, key, value, variant=variant, params=params, mask=mask, bias=bias, score_mod=score_mod,
        per_token=per_token, positions=positions, position_encoding=position_encoding, segments=segments,
        rng=rng, dropout_rate=dropout_rate, state=state, grid=grid, outputs=outputs,
    )  # fmt: skip
    return solve(problem, engine)


def explain(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K J"],
    value: Float[Array, "B S K Hv"],
    *,
    outputs: Iterable[str] = ("out",),
    **arguments: Unpack[Arguments],
) -> list[Candidate]:
    """Returns, for each engine, whether `attend` with these arguments would use it, and the reason; of a composition,
    for each of its parts.

    Args:
      query: as for `attend`.
      key: as for `attend`.
      value: as for `attend`.
      outputs: as for `attend`.
      **arguments: as for `attend`, `engine` left out.

    Raises:
      Refused: the arguments do not fit the variant, whatever the engine.
    """
    return explained(checked(query, key, value, outputs=outputs, **arguments))


def init(variant: str, rng: PRNGKeyArray, sizes: Sizes, position_encoding: str | None = None) -> tuple[Params, Params]:
    """Makes a variant's own arrays.

    Args:
      variant: a spec.
      rng: a key.
      sizes: what they are for.
      position_encoding: as for `attend`: its arrays are made too.

    Returns:
      The trained arrays and the random ones that are not trained; `attend` takes both in one dict as `params`.

    Raises:
      Refused: the variant cannot be used at these sizes.
    """
    return made(encoded(variant, position_encoding).mechanism.arrays, rng, sizes)
