"""A task joins a model to a data set: it hands a batch to the model and turns what comes back into measures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused, did_you_mean

Batch = Mapping[str, Any]

# What tells documents that share a row apart: a model that does not read it would mix them in silence.
_TELLS_APART = ("segments", "positions")
_LOWER_IS_BETTER = ("loss", "perplexity", "error")


class Ratio(NamedTuple):
    """A measure that can be added up over batches: its sum and the weight to divide it by, both float32 scalars."""

    total: Float[Array, ""]
    weight: Float[Array, ""]

    @property
    def mean(self) -> Float[Array, ""]:
        """The weighted mean; 0 where nothing counts."""
        return self.total / jnp.maximum(self.weight, jnp.finfo(jnp.float32).tiny)


@dataclass(frozen=True)
class Task:
    """What is learned.

    Attributes:
      metric: the measure that decides which model is better.
      needs: the arrays of a batch that `measure` reads.
      measure: (the model's output, batch) -> measures by name, "loss" among them.
    """

    metric: str
    needs: tuple[str, ...]
    measure: Callable[[Array, Batch], dict[str, Ratio]]

    @property
    def higher_is_better(self) -> bool:
        """Whether a model whose metric is higher is the better one."""
        return higher_is_better(self.metric)

    def check(self, model: nn.Module, batch: Batch) -> None:
        """Checks that a batch holds what the model and the measures read.

        Raises:
          Refused: it does not; or its rows hold several documents and the model would take each for one.
        """
        for owner, names in ((f"the model reads {model.reads!r}", (model.reads,)), ("the task", self.needs)):
            missing = [name for name in names if name not in batch]
            if missing:
                raise Refused(
                    f"{owner}: {', '.join(missing)} is not in this data set, which gives {', '.join(sorted(batch))}: "
                    "choose a model and a task for such data."
                )
        unread = [name for name in _TELLS_APART if name in batch and name not in _also_reads(model)]
        if unread:
            raise Refused(
                f"{type(model).__name__} does not read {' and '.join(unread)}, and rows of this data set hold several "
                "documents each: choose a model that does, such as gpt, or data with one document in a row."
            )

    def run(
        self, model: nn.Module, variables: Mapping[str, Any], batch: Batch, *, dropout: PRNGKeyArray | None = None
    ) -> dict[str, Ratio]:
        """Returns the measures of a model on a batch.

        Args:
          model: a Flax module that says with `reads` which array it takes, and may say with `also_reads` which ones it
            takes by name where the batch has them.
          variables: its parameters and buffers.
          batch: named arrays, [B, ...]; rows that "valid" [B] marks as False do not count.
          dropout: a key for training with dropout; None evaluates.
        """
        rngs = None if dropout is None else {"dropout": dropout}
        named = {name: batch[name] for name in _also_reads(model) if name in batch}
        output: Any = model.apply(variables, batch[model.reads], **named, deterministic=dropout is None, rngs=rngs)
        return self.measure(output, batch)


def _also_reads(model: nn.Module) -> tuple[str, ...]:
    return getattr(model, "also_reads", ())


tasks: Catalogue = Catalogue("task", "attention_jax.tasks")


def build(name: str, **options: Any) -> Task:
    """Makes a task by name.

    Raises:
      Refused: the name or an option is unknown.
    """
    return tasks.build(name, **options)


def higher_is_better(metric: str) -> bool:
    """Returns False for a metric whose name ends in "loss", "perplexity" or "error", True for any other."""
    return not metric.endswith(_LOWER_IS_BETTER)


def check_metric(metric: str, measures: tuple[str, ...], *, owner: str) -> None:
    """Checks that a task has the measure which is to decide.

    Raises:
      Refused: it does not.
    """
    if metric not in measures:
        raise Refused(f"{owner} has no metric {metric!r}.{did_you_mean(metric, measures)}")


def row_weights(batch: Batch, rows: int) -> Float[Array, " B"]:
    """Returns 1 for each row that counts and 0 for the rows that fill up the last batch of an evaluation, [B]."""
    valid: Bool[Array, " B"] = batch["valid"] if "valid" in batch else jnp.ones(rows, bool)
    return valid.astype(jnp.float32)


def weighted(values: Float[Array, "..."], weights: Float[Array, "..."]) -> Ratio:
    """Returns the weighted sum of the values and the sum of the weights."""
    return Ratio(jnp.sum(values * weights), jnp.sum(weights))
