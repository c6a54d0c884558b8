"""S_t = (I - b_t k_t k_t^T) diag(a_t) S_{t-1} + b_t k_t v_t^T: Kimi Team 2025 (Kimi Linear), equation 1.

The delta rule of `delta_net`, with one decay for each channel of a key head, a_t = exp(-A_n softplus(gate_t + bias_n))
with a bias for each channel. The recipe is that of section 4: short convolutions and SiLU on q, k and v, an RMS norm of
each head and a sigmoid gate through a bottleneck as wide as a head. The paper makes the decay through such a bottleneck
too; here it is of full rank.
"""

from dataclasses import replace

import jax.numpy as jnp

from attention_jax.kernels.arrays import PER_CHANNEL, PER_HEAD, Params, Sizes
from attention_jax.kernels.mechanism import LinearRecurrence
from attention_jax.kernels.recipe import PROJECTED, Gate, Recipe
from attention_jax.kernels.registry import Limit, Source, register
from attention_jax.kernels.variants.linear.gates import (
    CLAIMS,
    selective_gate,
    selective_log_decay,
    unit_key,
    unit_scaled,
    write_strength,
)


def _never_forgets(sizes: Sizes) -> Params:
    return {
        "log_rate": jnp.full((sizes.kv_heads,), -jnp.inf),
        "step_bias": jnp.zeros((sizes.kv_heads, sizes.key)),
    }


@register(
    source=Source(
        "Kimi Linear: An Expressive, Efficient Attention Architecture",
        "equation 1",
        authors="Kimi Team",
        year=2025,
        arxiv="2510.26692",
    ),
    claims=replace(CLAIMS, limits=(Limit("kimi_delta", equals="delta_net", tolerance=2e-6, params=_never_forgets),)),
    aliases=("kda",),
    recipe=Recipe(
        convolved=PROJECTED,
        activated=PROJECTED,
        head_norm="rms",
        gate=Gate(activation="sigmoid", through="linear"),
    ),
)
def kimi_delta(*, max_beta: float = 1.0) -> LinearRecurrence:
    """The delta rule, and a state that forgets as much as each token says, by channel (KDA); no normaliser.

    Args:
      max_beta: what a strength comes near to at most; 2 lets a token turn a state around, so that it can be tracked.

    Raises:
      Refused: max_beta is not in (0, 2].
    """
    return LinearRecurrence(
        arrays=selective_gate("J"),
        per_token={"gate": PER_CHANNEL, "beta": PER_HEAD},
        prepare_query=unit_scaled,
        prepare_key=unit_key,
        log_decay=selective_log_decay,
        strength=write_strength(max_beta, owner="kimi_delta"),
        update="delta",
    )
