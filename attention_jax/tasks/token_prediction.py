"""Predicting a token at each position: language modelling, and recall tasks that score some positions only."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.tasks.slicing import build_slicings
from attention_jax.tasks.task import Batch, Items, Task, are_likeliest, check_metric, register, row_weights


@register
def token_prediction(*, metric: str = "loss", label_smoothing: float = 0.0, slices: tuple[str, ...] = ()) -> Task:
    """Cross-entropy of "targets" [B, T], in nats per token, over the positions that "weights" [B, T] counts.

    Args:
      metric: what decides: "loss", or "accuracy", the share of counted positions whose likeliest token is the target.
      label_smoothing: the share e of the target spread evenly over the whole vocabulary, the target itself too (Szegedy
        et al. 2015, section 7). The loss that training minimises, and reports, is then
        (1 - e) (-log p(target)) + e mean over v of -log p(v); an evaluation's has none, as the field reports
        perplexity (Vaswani et al. 2017, section 5.4).
      slices: names of slicings: "position", "length"; of recall also "pairs", "distance" and "occurrences".

    Raises:
      Refused: there is no such metric or slicing, or label_smoothing is outside [0, 1).
    """
    check_metric(metric, ("loss", "accuracy"), owner="task token_prediction")
    if not 0 <= label_smoothing < 1:
        raise Refused(f"task token_prediction has label_smoothing={label_smoothing}: give a share in [0, 1).")

    def items(logits: Float[Array, "B T V"], batch: Batch) -> dict[str, Items]:
        targets, weights = batch["targets"], _weights(batch)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        return {"loss": Items(losses, weights), "accuracy": Items(are_likeliest(logits, targets), weights)}

    def smoothed(logits: Float[Array, "B T V"], batch: Batch) -> Items:
        exact = optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"])
        even = jax.nn.logsumexp(logits, axis=-1) - jnp.mean(logits, axis=-1)
        return Items((1 - label_smoothing) * exact + label_smoothing * even, _weights(batch))

    return Task(
        metric=metric,
        reads=("targets", "weights"),
        items=items,
        slices=build_slicings(slices),
        training_loss=smoothed if label_smoothing else None,
    )


def _weights(batch: Batch) -> Float[Array, "B T"]:
    return batch["weights"] * row_weights(batch, len(batch["targets"]))[:, None]
