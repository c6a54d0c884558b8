"""S_t = g_t S_{t-1} + k_t v_t^T, g_t = sigmoid(x_t w)^(1/tau): Sun et al. 2024 (YOCO), section 3.1.

One decay for each token and key head, from per_token "gate" = x_t w; out_t = S_t^T q_t / sqrt(H). The recipe is that of
the multi-head form in section 3.1: a GroupNorm of each head, then a swish gate.
"""

from attention_jax.kernels.arrays import PER_HEAD
from attention_jax.kernels.mechanism import LinearRecurrence
from attention_jax.kernels.recipe import Gate, Recipe
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.variants.linear.gates import CLAIMS, scaled, tempered_log_decay


@register(
    source=Source(
        "You Only Cache Once: Decoder-Decoder Architectures for Language Models",
        "section 3.1, gated retention",
        authors=(
            "Sun, Yutao and Dong, Li and Zhu, Yi and Huang, Shaohan and Wang, Wenhui and Ma, Shuming and "
            "Zhang, Quanlu and Wang, Jianyong and Wei, Furu"
        ),
        year=2024,
        venue="NeurIPS 2024",
        arxiv="2405.05254",
    ),
    claims=CLAIMS,
    aliases=("simple_gla",),
    recipe=Recipe(head_norm="group", gate=Gate(activation="silu")),
)
def gated_retention(*, temperature: float = 16.0) -> LinearRecurrence:
    """A linear recurrence that forgets as much as each token says, by head (gRet); no normaliser.

    Args:
      temperature: tau, which keeps the decay near 1.

    Raises:
      Refused: temperature is not positive.
    """
    log_decay = tempered_log_decay(temperature, owner="gated_retention")
    return LinearRecurrence(per_token={"gate": PER_HEAD}, prepare_query=scaled, log_decay=log_decay)
