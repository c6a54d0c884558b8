"""S_t = diag(a_t) S_{t-1} + k_t v_t^T, a_t = sigmoid(gate_t)^(1/tau): Yang et al. 2023 (GLA), sections 4.1 and 4.4.

One decay for each channel of a key head; out_t = S_t^T q_t / sqrt(H), as in the authors' code. The recipe is that of
section 4.4: a norm of each head, then a swish gate; the paper writes LayerNorm, and the authors' code has an RMS norm,
as here. The paper makes the decay by a projection of rank 16; here it is of full rank.
"""

from attention_jax.kernels.arrays import PER_CHANNEL
from attention_jax.kernels.mechanism import LinearRecurrence
from attention_jax.kernels.recipe import Gate, Recipe
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.variants.linear.gates import CLAIMS, scaled, tempered_log_decay


@register(
    source=Source(
        "Gated Linear Attention Transformers with Hardware-Efficient Training",
        "sections 4.1 and 4.4",
        authors="Yang, Songlin and Wang, Bailin and Shen, Yikang and Panda, Rameswar and Kim, Yoon",
        year=2023,
        venue="ICML 2024",
        arxiv="2312.06635",
    ),
    claims=CLAIMS,
    aliases=("gla",),
    recipe=Recipe(head_norm="rms", gate=Gate(activation="silu")),
)
def gated_linear(*, temperature: float = 16.0) -> LinearRecurrence:
    """A linear recurrence that forgets as much as each token says, by channel (GLA); no normaliser.

    Args:
      temperature: tau, which keeps the decay near 1.

    Raises:
      Refused: temperature is not positive.
    """
    log_decay = tempered_log_decay(temperature, owner="gated_linear")
    return LinearRecurrence(per_token={"gate": PER_CHANNEL}, prepare_query=scaled, log_decay=log_decay)
