"""An alignment: w_t = softmax(q_t . k / sqrt(H) - f_n s_t), s_t+1 = s_t / 2 + w_t: what was just looked at tires."""

import jax.numpy as jnp

from attention_jax.kernels import Alignment, Claims, Given, Looked, Source, constant, dot, masked_softmax, register

# All kinds of mask but Segments: what was looked at would tire across the borders of documents.
MASKS = ("Causal", "Window", "Global", "PrefixLM", "Padding", "Dense", "Blocks")


def start(key, heads: int, given: Given):
    """Nothing has been looked at, [B, N, S]."""
    return jnp.zeros((key.shape[0], heads, key.shape[1]), jnp.float64 if key.dtype == jnp.float64 else jnp.float32)


def step(state, query, key, visible, given: Given) -> Looked:
    """One query [B, N, H], all keys, and what the queries before have left."""
    logits = dot(query[:, None], key, given)[:, :, 0] * query.shape[-1] ** -0.5
    tired = given.params["fatigue"].astype(state.dtype)[None, :, None] * state
    weights = masked_softmax(logits - tired, visible)
    return Looked(weights, state / 2 + weights)


@register(
    source=Source("this file", "its first line"),
    claims=Claims(bias=False, lse=False, steps=True, memory="quadratic", masks=MASKS),
)
def fatigue(*, strength: float = 1.0) -> Alignment:
    """Scaled dot products, less what the key has had of the queries before.

    Args:
      strength: f at the start, of each head.
    """
    return Alignment(start=start, step=step, arrays={"fatigue": constant(strength, "N")})
