"""Choosing one of several classes for a whole example."""

import jax
import optax
from jaxtyping import Array, Float

from attention_jax.base.errors import Refused
from attention_jax.tasks.slicing import build_slicings
from attention_jax.tasks.task import Batch, Items, Task, are_likeliest, check_metric, register, row_weights


@register
def classification(*, metric: str = "accuracy", label_smoothing: float = 0.0, slices: tuple[str, ...] = ()) -> Task:
    """Cross-entropy of "label" [B], in nats per example.

    Args:
      metric: what decides: "accuracy" or "loss".
      label_smoothing: the share of the target spread evenly over all classes (Szegedy et al. 2015, section 7), in
        training and evaluation alike.
      slices: names of slicings, such as "label".

    Raises:
      Refused: there is no such metric or slicing, or label_smoothing is outside [0, 1).
    """
    check_metric(metric, ("accuracy", "loss"), owner="task classification")
    if not 0 <= label_smoothing < 1:
        raise Refused(f"task classification has label_smoothing={label_smoothing}: give a share in [0, 1).")

    def items(logits: Float[Array, "B C"], batch: Batch) -> dict[str, Items]:
        label = batch["label"]
        weights = row_weights(batch, len(label))
        target = optax.smooth_labels(jax.nn.one_hot(label, logits.shape[-1]), label_smoothing)
        losses = optax.softmax_cross_entropy(logits, target)
        return {"loss": Items(losses, weights), "accuracy": Items(are_likeliest(logits, label), weights)}

    return Task(metric=metric, reads=("label",), items=items, slices=build_slicings(slices))
