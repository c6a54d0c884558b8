"""What the two differential attentions share: one map of weights less a share of another."""

from jaxtyping import Array, Float

from attention_jax.kernels.mechanism import to_statistics


def less(one: Array, other: Array, share: Float[Array, "..."]) -> Array:
    """Returns one - share other, in the dtype of statistics."""
    wide = to_statistics(one)
    return wide - share.astype(wide.dtype) * to_statistics(other)
