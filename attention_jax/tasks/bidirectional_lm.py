"""Language modelling in both directions: Peters et al. 2018, section 3.1."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from attention_jax.tasks.task import Batch, Items, Task, are_likeliest, check_metric, register, row_weights


@register
def bidirectional_lm(*, metric: str = "loss") -> Task:
    """Cross-entropy of each word's neighbours in "tokens" [B, T], in nats a neighbour, the mean of both directions.

    A model gives the logits of the word after each word, and of the one before it, [B, T, 2, V]. Token 0, which is no
    word, is the neighbour of the first word and of the last.

    Args:
      metric: what decides: "loss", or "accuracy", the share of neighbours that are the likeliest.

    Raises:
      Refused: there is no such metric.
    """
    check_metric(metric, ("loss", "accuracy"), owner="task bidirectional_lm")

    def items(logits: Float[Array, "B T 2 V"], batch: Batch) -> dict[str, Items]:
        tokens = batch["tokens"]
        real = jnp.arange(tokens.shape[1]) < batch["lengths"][:, None]
        words = jnp.where(real, tokens, 0)
        after = jnp.pad(words[:, 1:], ((0, 0), (0, 1)))
        before = jnp.pad(words[:, :-1], ((0, 0), (1, 0)))
        neighbours = jnp.stack([after, before], axis=-1)
        weights = real * row_weights(batch, len(tokens))[:, None]
        weights = jnp.stack([weights, weights], axis=-1)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, neighbours)
        return {"loss": Items(losses, weights), "accuracy": Items(are_likeliest(logits, neighbours), weights)}

    return Task(metric=metric, reads=("tokens", "lengths"), items=items)
