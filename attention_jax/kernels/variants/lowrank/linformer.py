"""softmax(q (E^T k)^T) (F^T v): Wang et al. 2020, equation 7: keys and values projected from their length to `rank`.

E and F are learned, [length, rank], drawn from N(0, 1 / rank) as in the paper's theorem 1: a number for each place of
the sequence, so it takes none longer than it was made for, and the first rows of E and F for a shorter one. The paper
and the published code project whatever padding holds: here it is left out of keys and values before they are projected.
A projected key mixes all tokens, so there is no causal form. The paper's layerwise sharing is a matter of the model.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.kernels.arrays import Declared, Params, Sizes, normal
from attention_jax.kernels.composition import Composition, Solve, on_other_tokens, past_nan
from attention_jax.kernels.mask import Padding
from attention_jax.kernels.mechanism import SoftmaxScore, to_statistics, widest
from attention_jax.kernels.problem import AttentionOutput, Problem
from attention_jax.kernels.registry import Claims, Limit, Source, register

SHARING = ("none", "heads", "key_value")


def _arrays(rank: int, sharing: str) -> dict[str, Declared]:
    of_heads = ("K",) if sharing == "none" else ()
    names = ("projection",) if sharing == "key_value" else ("key_projection", "value_projection")
    return {name: normal(*of_heads, "length", rank, fan_in=(-1,)) for name in names}


def _projected(
    tokens: Float[Array, "B S K J"],
    projection: Float[Array, "*k S R"],
    real: Bool[Array, "B S"] | None,
    query_dtype: jnp.dtype,
) -> Float[Array, "B R K J"]:
    if real is not None:
        tokens = jnp.where(real[..., None, None], tokens, 0)
    heads = "k" if projection.ndim == 3 else ""
    dtype = to_statistics(tokens).dtype
    few = jnp.einsum(f"bskj,{heads}sr->brkj", tokens.astype(dtype), projection.astype(dtype))
    return few.astype(widest(query_dtype, tokens.dtype))


def _run(problem: Problem, solve: Solve) -> AttentionOutput:
    params, real = problem.params, problem.given.real
    of_key, of_value = (
        params[name if name in params else "projection"] for name in ("key_projection", "value_projection")
    )
    dtype = problem.query.dtype
    key, value = _projected(problem.key, of_key, real, dtype), _projected(problem.value, of_value, real, dtype)
    # A sequence of nothing but padding has nothing to project.
    some = None if real is None else Padding(jnp.broadcast_to(real.any(-1, keepdims=True), key.shape[:2]))
    few = SoftmaxScore(scale=None)
    name = "projected keys"
    return solve(on_other_tokens(problem, few, name=name, query=problem.query, key=key, value=value, mask=some))


def _identity(sizes: Sizes) -> Params:
    assert sizes.length is not None
    return {"key_projection": jnp.eye(sizes.length), "value_projection": jnp.eye(sizes.length)}


@register(
    source=Source(
        "Linformer: Self-Attention with Linear Complexity",
        "equation 7",
        authors="Wang, Sinong and Li, Belinda Z. and Khabsa, Madian and Fang, Han and Ma, Hao",
        year=2020,
        arxiv="2006.04768",
    ),
    claims=Claims(
        time="linear",
        causal="no",
        bias=False,
        dropout=False,
        weights=False,
        lse=False,
        order_free=False,
        masks=("Padding",),
        limits=(Limit("linformer:rank=7", equals="scaled_dot", tolerance=2e-6, params=_identity),),
        tried="linformer:rank=3",
    ),
)
def linformer(*, rank: int = 256, sharing: str = "heads") -> Composition:
    """Scaled dot-product attention to keys and values that a learned matrix projects to fewer.

    Args:
      rank: the paper's k: how many projected keys there are.
      sharing: "none": each key head has its own E and F; "heads": one E and one F; "key_value": E is F.

    Raises:
      Refused: the rank is smaller than 1, or there is no such sharing.
    """
    if rank < 1:
        raise Refused(f"linformer:rank={rank} leaves no key: give at least 1.")
    if sharing not in SHARING:
        raise Refused(f"linformer:sharing={sharing} is none of {', '.join(SHARING)}.{did_you_mean(sharing, SHARING)}")
    return Composition(run=past_nan(_run), arrays=_arrays(rank, sharing))
