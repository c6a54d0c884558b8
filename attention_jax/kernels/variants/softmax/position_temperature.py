"""softmax(s_t q_t . k / sqrt(H)), s_t = 1 + a log(1 + floor((t + 1) / N)), t the query's position: Llama 4's code.

Its layers without rotary positions have a = 0.1 and N = 8192 ("attn_temperature_tuning"), after `scalable_softmax`, but
by position and not by how many keys are seen, and with nothing learned. Ministral 3 has floor(t / N). `smooth` is
Inkling's form, s_t = 1 + a log(max((t + 1) / N, 1)), which has no steps. It is the query that is multiplied, so any
engine runs it; a bias is not, as in Llama 4. Inkling multiplies its bias by distance too: give it multiplied.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.kernels.mechanism import Given, SoftmaxScore, to_statistics
from attention_jax.kernels.registry import Claims, Limit, Source, register


@register(
    source=Source(
        "The Llama 4 herd: The beginning of a new era of natively multimodal AI innovation",
        "inference time temperature scaling, in the form of its published code",
        authors="Meta AI",
        year=2025,
    ),
    claims=Claims(
        limits=(
            Limit("position_temperature:rate=0.0", equals="scaled_dot", tolerance=2e-6),
            Limit("position_temperature:start=8", equals="scaled_dot", tolerance=2e-6),
        ),
        tried="position_temperature:rate=0.5,start=3",
    ),
)
def position_temperature(*, rate: float = 0.1, start: int = 8192, smooth: bool = False) -> SoftmaxScore:
    """Softmax that sharpens with the log of the query's position, so that it does not fade far from the start.

    Args:
      rate: a, how fast.
      start: N, up to how many tokens nothing changes; without `smooth`, how many a step takes.
      smooth: it grows from token to token and not in steps.

    Raises:
      Refused: rate is negative, or start is smaller than 1.
    """
    if rate < 0 or start < 1:
        raise Refused(
            f"position_temperature has rate={rate} and start={start}: it sharpens from `start` tokens on; give a rate "
            "of 0 or more, and a start of at least 1."
        )

    def sharpened(query: Float[Array, "B T N H"], given: Given) -> Float[Array, "B T N H"]:
        assert given.place is not None
        wide = to_statistics(query)
        share = (given.place.query.astype(wide.dtype) + 1) / start
        steps = jnp.log(jnp.maximum(share, 1)) if smooth else jnp.log1p(jnp.floor(share))
        return (wide * (1 + rate * steps)[..., None, None]).astype(query.dtype)

    return SoftmaxScore(scale=None, prepare_query=sharpened)
