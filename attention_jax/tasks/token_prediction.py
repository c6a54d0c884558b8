"""Predicting a token at each position: language modelling, and recall tasks that score some positions only."""

import optax
from jaxtyping import Array, Float

from attention_jax.tasks.slicing import build_slicings
from attention_jax.tasks.task import Batch, Items, Task, are_likeliest, check_metric, row_weights, tasks


@tasks.register
def token_prediction(*, metric: str = "loss", slices: tuple[str, ...] = ()) -> Task:
    """Cross-entropy of "targets" [B, T], in nats per token, over the positions that "weights" [B, T] counts.

    Args:
      metric: what decides: "loss", or "accuracy", the share of counted positions whose likeliest token is the target.
      slices: names of slicings: "position", "length"; of recall also "pairs", "distance" and "occurrences".

    Raises:
      Refused: there is no such metric or slicing.
    """
    check_metric(metric, ("loss", "accuracy"), owner="task token_prediction")

    def items(logits: Float[Array, "B T V"], batch: Batch) -> dict[str, Items]:
        targets = batch["targets"]
        weights = batch["weights"] * row_weights(batch, len(targets))[:, None]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        return {"loss": Items(losses, weights), "accuracy": Items(are_likeliest(logits, targets), weights)}

    return Task(metric=metric, reads=("targets", "weights"), items=items, slices=build_slicings(slices))
