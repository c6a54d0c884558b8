"""S_t = exp(-A_n d_t) S_{t-1} + d_t k_t v_t^T, d_t = softplus(gate_t + bias_n): Dao & Gu 2024, sections 2 and 7.

State space duality: C is the query, B the key, x the value, out_t = S_t^T q_t. The recipe is that of section 7.1 and
figure 6: convolutions and SiLU on x, B and C, the skip D x, a SiLU gate and an RMS norm after it. The norm is of each
head, where the paper's is of all heads of a device; x is as wide as the layer, where the paper's is twice as wide.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from attention_jax.kernels.arrays import PER_HEAD
from attention_jax.kernels.mechanism import Given, LinearRecurrence
from attention_jax.kernels.recipe import PROJECTED, Gate, Recipe
from attention_jax.kernels.registry import Source, register
from attention_jax.kernels.variants.linear.gates import CLAIMS, selective_gate, selective_log_decay


def _step(given: Given) -> Array:
    gate, bias = given.per_token["gate"], given.params["step_bias"]
    return jax.nn.softplus(gate + jnp.expand_dims(bias, range(gate.ndim - bias.ndim)))


@register(
    source=Source(
        "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State Space Duality",
        "sections 2 and 7",
        authors="Dao, Tri and Gu, Albert",
        year=2024,
        venue="ICML 2024",
        arxiv="2405.21060",
    ),
    claims=CLAIMS,
    aliases=("ssd",),
    recipe=Recipe(
        convolved=PROJECTED,
        activated=PROJECTED,
        skip=True,
        head_norm="rms",
        gate=Gate(activation="silu"),
        norm_after_gate=True,
    ),
)
def mamba2() -> LinearRecurrence:
    """A linear recurrence whose steps each token sizes: a long one writes much and forgets much; no normaliser."""
    return LinearRecurrence(
        arrays=selective_gate(), per_token={"gate": PER_HEAD}, log_decay=selective_log_decay, strength=_step
    )
