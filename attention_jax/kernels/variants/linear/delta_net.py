"""S_t = (I - b_t k_t k_t^T) S_{t-1} + b_t k_t v_t^T: Schlag et al. 2021; Yang et al. 2024, sections 2.2 and 3.3.

out_t = S_t^T q_t / sqrt(H); q and k are divided by their norms and b = max_beta sigmoid(beta) is in (0, 1), or in
(0, 2), so that I - b k k^T never lengthens a vector. The recipe is that of section 3.3 and of the authors' code: short
convolutions and SiLU on q, k and v, and an RMS norm of each head.
"""

from dataclasses import replace

from attention_jax.kernels.arrays import PER_HEAD
from attention_jax.kernels.mechanism import LinearRecurrence
from attention_jax.kernels.recipe import PROJECTED, Recipe
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.variants.linear.gates import CLAIMS, unit_key, unit_scaled, write_strength


@register(
    source=Source(
        "Parallelizing Linear Transformers with the Delta Rule over Sequence Length",
        "sections 2.2 and 3.3",
        authors="Yang, Songlin and Wang, Bailin and Zhang, Yu and Shen, Yikang and Kim, Yoon",
        year=2024,
        venue="NeurIPS 2024",
        arxiv="2406.06484",
    ),
    claims=replace(CLAIMS, tried="delta_net:max_beta=2"),
    aliases=("delta_rule",),
    recipe=Recipe(convolved=PROJECTED, activated=PROJECTED, head_norm="rms"),
)
def delta_net(*, max_beta: float = 1.0) -> LinearRecurrence:
    """A linear recurrence that replaces the value stored for a key instead of adding to it; no normaliser.

    Args:
      max_beta: what a strength comes near to at most; 2 lets a token turn a state around, so that it can be tracked.

    Raises:
      Refused: max_beta is not in (0, 2].
    """
    return LinearRecurrence(
        per_token={"beta": PER_HEAD},
        prepare_query=unit_scaled,
        prepare_key=unit_key,
        strength=write_strength(max_beta, owner="delta_net"),
        update="delta",
    )
