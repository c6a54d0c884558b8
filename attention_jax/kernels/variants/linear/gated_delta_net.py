"""S_t = a_t (I - b_t k_t k_t^T) S_{t-1} + b_t k_t v_t^T: Yang et al. 2024 (Gated DeltaNet), equation 10.

The delta rule of `delta_net`, with one decay for each token and key head, a_t = exp(-A_n softplus(gate_t + bias_n)),
which is the gate of Mamba-2. The recipe is that of section 3.4 and figure 1: as there, and a SiLU gate after the norm.
The paper's values are twice as wide as its keys; here they are as wide.
"""

from dataclasses import replace

import jax.numpy as jnp

from attention_jax.kernels.arrays import PER_HEAD, Params, Sizes
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
    return {"log_rate": jnp.full((sizes.kv_heads,), -jnp.inf), "step_bias": jnp.zeros((sizes.kv_heads,))}


@register(
    source=Source(
        "Gated Delta Networks: Improving Mamba2 with Delta Rule",
        "equation 10",
        authors="Yang, Songlin and Kautz, Jan and Hatamizadeh, Ali",
        year=2024,
        venue="ICLR 2025",
        arxiv="2412.06464",
    ),
    claims=replace(
        CLAIMS, limits=(Limit("gated_delta_net", equals="delta_net", tolerance=2e-6, params=_never_forgets),)
    ),
    aliases=("gdn",),
    recipe=Recipe(convolved=PROJECTED, activated=PROJECTED, head_norm="rms", gate=Gate(activation="silu")),
)
def gated_delta_net(*, max_beta: float = 1.0) -> LinearRecurrence:
    """The delta rule, and a state that forgets as much as each token says, by head; no normaliser.

    Args:
      max_beta: what a strength comes near to at most; 2 lets a token turn a state around, so that it can be tracked.

    Raises:
      Refused: max_beta is not in (0, 2].
    """
    return LinearRecurrence(
        arrays=selective_gate(),
        per_token={"gate": PER_HEAD, "beta": PER_HEAD},
        prepare_query=unit_scaled,
        prepare_key=unit_key,
        log_decay=selective_log_decay,
        strength=write_strength(max_beta, owner="gated_delta_net"),
        update="delta",
    )
