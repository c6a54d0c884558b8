"""A task joins a model to a data set: it hands a batch to the model and turns what comes back into measures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.models import arrays_of, may_read, readers

Batch = Mapping[str, Any]

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
      reads: the arrays of a batch that `measure` needs.
      measure: (the model's output, batch) -> measures by name, "loss" among them.
      name: what messages call it.
    """

    metric: str
    reads: tuple[str, ...]
    measure: Callable[[Array, Batch], dict[str, Ratio]]
    name: str = ""

    @property
    def higher_is_better(self) -> bool:
        """Whether a model whose metric is higher is the better one."""
        return higher_is_better(self.metric)

    def check(self, model: nn.Module, batch: Batch) -> None:
        """Checks that a batch holds what the model and the measures read, and nothing else.

        Raises:
          Refused: it does not; or an array of it would be dropped without a word.
        """
        of_model, of_task = f"model {type(model).__name__}", f"task {self.name}".rstrip()
        for owner, names in ((of_model, model.reads), (of_task, self.reads)):
            missing = [name for name in names if name not in batch]
            if missing:
                raise Refused(
                    f"{owner} reads {', '.join(names)}: {', '.join(missing)} is not in this data set, which gives "
                    f"{', '.join(sorted(batch))}: choose a model and a task for such data."
                )
        unread = sorted({*batch} - {*model.reads, *may_read(model), *self.reads})
        if unread:
            them, such = "it" if len(unread) == 1 else "them", readers(unread, batch=batch)
            also = f" and may read {', '.join(may_read(model))}" if may_read(model) else ""
            raise Refused(
                f"this data set gives {', '.join(unread)}, which neither {of_model} (it reads {', '.join(model.reads)}"
                f"{also}) nor {of_task} (it reads {', '.join(self.reads)}) reads: choose a model or a task that reads "
                f"{them}{', such as ' + ' or '.join(such) if such else ''}, or data without {them}."
            )

    def run(
        self, model: nn.Module, variables: Mapping[str, Any], batch: Batch, *, dropout: PRNGKeyArray | None = None
    ) -> dict[str, Ratio]:
        """Returns the measures of a model on a batch.

        Args:
          model: a Flax module that says with `reads` which arrays it needs, and may say with `may_read` which ones it
            takes where the batch has them; each is given by its name.
          variables: its parameters and buffers.
          batch: named arrays, [B, ...]; rows that "valid" [B] marks as False do not count.
          dropout: a key for training with dropout; None evaluates.
        """
        rngs = None if dropout is None else {"dropout": dropout}
        output: Any = model.apply(variables, **arrays_of(model, batch), deterministic=dropout is None, rngs=rngs)
        return self.measure(output, batch)


tasks: Catalogue = Catalogue("task", "attention_jax.tasks")


def build(name: str, **options: Any) -> Task:
    """Makes a task by name.

    Raises:
      Refused: the name or an option is unknown.
    """
    return replace(tasks.build(name, **options), name=name)


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
