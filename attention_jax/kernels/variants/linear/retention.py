"""S_t = gamma_n S_{t-1} + k_t v_t^T, out_t = S_t^T q_t / sqrt(H): Sun et al. 2023, equations 5 and 6, section 2.2.

gamma of key head n is 1 - 2^(-5-n), n = 0, 1, 2 ... (equation 8). The recipe is that of equation 8: a GroupNorm of each
head, then a swish gate. The paper rotates q and k first (xPos), which is left out, and its values are twice as wide as
its keys; here they are as wide.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from attention_jax.kernels.arrays import Declared, Sizes
from attention_jax.kernels.mechanism import Given, LinearRecurrence
from attention_jax.kernels.recipe import Gate, Recipe
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.variants.linear.gates import CLAIMS, scaled


def _init(rng: PRNGKeyArray, shape: tuple[int, ...], sizes: Sizes) -> Array:
    return jnp.log1p(-(2.0 ** (-5 - jnp.arange(shape[0], dtype=jnp.float32))))


def _log_decay(key: Array, given: Given) -> Array:
    return jax.lax.stop_gradient(given.params["log_decay"])[None, None]


@register(
    source=Source(
        "Retentive Network: A Successor to Transformer for Large Language Models",
        "equations 5, 6 and 8",
        authors=(
            "Sun, Yutao and Dong, Li and Huang, Shaohan and Ma, Shuming and Xia, Yuqing and Xue, Jilong "
            "and Wang, Jianyong and Wei, Furu"
        ),
        year=2023,
        arxiv="2307.08621",
    ),
    claims=CLAIMS,
    aliases=("retnet",),
    recipe=Recipe(head_norm="group", gate=Gate(activation="silu")),
)
def retention() -> LinearRecurrence:
    """A linear recurrence that forgets at a fixed rate, another one in each head (RetNet); no normaliser."""
    log_decay = Declared(("K",), _init, trained=False)
    return LinearRecurrence(arrays={"log_decay": log_decay}, prepare_query=scaled, log_decay=_log_decay)
