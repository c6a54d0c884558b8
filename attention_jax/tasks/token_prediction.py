"""Predicting a token at each position: language modelling, and recall tasks that score some positions only."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from attention_jax.tasks.task import Batch, Ratio, Task, check_metric, row_weights, tasks, weighted


@tasks.register
def token_prediction(*, metric: str = "loss") -> Task:
    """Cross-entropy of "targets" [B, T], in nats per token, over the positions that "weights" [B, T] counts.

    Args:
      metric: what decides: "loss", or "accuracy", the share of counted positions whose likeliest token is the target.

    Raises:
      Refused: there is no such metric.
    """
    check_metric(metric, ("loss", "accuracy"), owner="task token_prediction")

    def measure(logits: Float[Array, "B T V"], batch: Batch) -> dict[str, Ratio]:
        targets = batch["targets"]
        weights = batch["weights"] * row_weights(batch, len(targets))[:, None]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        correct = (jnp.argmax(logits, axis=-1) == targets).astype(jnp.float32)
        return {"loss": weighted(losses, weights), "accuracy": weighted(correct, weights)}

    return Task(metric=metric, reads=("targets", "weights"), measure=measure)
