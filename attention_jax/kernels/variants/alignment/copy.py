"""One softmax over the words that a decoder may generate and the source tokens that it may copy: Gu et al. 2016.

Equations 4 to 6 and 8: p(copy j) = exp(z_j) / Z, Z = exp(generate) + sum_l exp(z_l), z_j = tanh(h_j W_c) s.
per_token["generate"] of each query is the log of the sum of the exponentials of its scores for all words, one for each
head. What the caller makes of it:

- p(generate v) = exp(score(v) - lse), with outputs=("out", "lse"): Z is shared.
- p(copy word v), tokens that hold the same word added up, is `out` for values that are one-hot vectors of the words.

A query that sees no token has an lse of -inf here as everywhere: all its mass is the generator's.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.kernels.arrays import PerToken, normal
from attention_jax.kernels.composition import Composition
from attention_jax.kernels.mechanism import Given, SoftmaxScore
from attention_jax.kernels.registry import Claims, Source, register
from attention_jax.kernels.sink import with_sink


def _prepare_key(key: Float[Array, "B S K J"], given: Given) -> Float[Array, "B S K H"]:
    return jnp.tanh(jnp.einsum("bskj,kjh->bskh", key, given.params["weight"].astype(key.dtype)))


@register(
    source=Source(
        "Incorporating Copying Mechanism in Sequence-to-Sequence Learning",
        "equations 4 to 6 and 8",
        authors="Gu, Jiatao and Lu, Zhengdong and Li, Hang and Li, Victor O. K.",
        year=2016,
        venue="ACL 2016",
        arxiv="1603.06393",
    ),
    claims=Claims(unequal_widths=True, convex=False),
    aliases=("copynet",),
)
def copy() -> Composition:
    """What a decoder copies of the tokens it sees, in one softmax with all that it might generate (CopyNet)."""
    score = SoftmaxScore(
        arrays={"weight": normal("K", "J", "H")},
        per_token={"generate": PerToken(("N",), of="query")},
        prepare_key=_prepare_key,
    )
    return with_sink(score, lambda given: given.per_token["generate"].swapaxes(1, 2))
