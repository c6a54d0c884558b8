"""A task joins a model to a data set: it hands a batch to the model and turns what comes back into measures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.core import DenyList
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.data import Dataset
from attention_jax.layers.attention import LOOKED_AT
from attention_jax.models import LOSSES, arrays_of, check_collections, may_read, mutable, readers
from attention_jax.tasks.slicing import Batch, Slicing

_LOWER_IS_BETTER = ("loss", "perplexity", "error")
# What a model may write in training: undeclared collections too, so that they can be refused. In an evaluation none.
_WRITTEN = DenyList(("params", "buffers", "intermediates", LOOKED_AT))
# (model, variables, batch, key) -> named arrays [B, ...]
Collect = Callable[[nn.Module, Mapping[str, Any], Batch, PRNGKeyArray], dict[str, Array]]
# (named arrays of all rows, data set, name of the split) -> scores by name
Score = Callable[[dict[str, np.ndarray], Dataset, str], dict[str, float]]


class Items(NamedTuple):
    """A measure of each item of a batch, an example or a position: its value and how much it counts, float32."""

    values: Float[Array, "..."]
    weights: Float[Array, "..."]


class Ratio(NamedTuple):
    """A measure that can be added up over batches: its sum and the weight to divide it by, both float32.

    Scalars, or [K] for the slices of a slicing.
    """

    total: Float[Array, "*K"]
    weight: Float[Array, "*K"]

    @property
    def mean(self) -> Float[Array, "*K"]:
        """The weighted mean; 0 where nothing counts."""
        return self.total / jnp.maximum(self.weight, jnp.finfo(jnp.float32).tiny)


@dataclass(frozen=True)
class Task:
    """What is learned.

    Its measures are of two kinds. Those of `items` add up over batches and are there at every evaluation. Those in
    `scores` do not (BLEU, exact match of what was decoded): `collect` is compiled and gives what they need of each row
    of a batch, and `score` computes them on the host of all rows of a split. They are there at the end of a run, in
    `eval`, and at each evaluation where one of them is the metric or with `evaluation.collect`.

    A task may give slices of its score. Its builder takes their names, as an option `slices`, and hands on
    `build_slicings(slices)`; the package `attention_jax.tasks.slices` says how a new one is written.

    Attributes:
      metric: the measure that decides which model is better.
      reads: the arrays of a batch that `items` and `collect` need.
      items: (the model's output, batch) -> measures of each item by name, "loss" among them.
      slices: by what the metric is divided at the end of a run.
      training_loss: (the model's output, batch) -> the loss of each item that training minimises, where that is another
        than the "loss" of `items`, such as a smoothed one.
      scores: the names of what `score` gives.
      collect: (model, variables, batch, key) -> named arrays [B, ...], a pure function; the key is another for each
        batch of a split and the same at each evaluation.
      score: (what was collected, data set, split) -> the scores by name. It gets [N, ...] of each array: the N rows of
        the split in its order. Arrays whose other axes differ between batches of several lengths are filled up at
        their end with zeros to the largest.
      whole_batch: whether the loss of a row depends on the other rows of its batch, as contrastive ones do, so that a
        batch is not run in parts.
      name: what messages call it.
    """

    metric: str
    reads: tuple[str, ...]
    items: Callable[[Array, Batch], dict[str, Items]]
    slices: tuple[Slicing, ...] = ()
    training_loss: Callable[[Array, Batch], Items] | None = None
    scores: tuple[str, ...] = ()
    collect: Collect | None = None
    score: Score | None = None
    whole_batch: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        if not bool(self.scores) == (self.collect is not None) == (self.score is not None):
            raise Refused("a task gives some of scores, collect and score: give all three, or none.")
        if self.slices and self.metric in self.scores:
            raise Refused(
                f"a task has slices of {self.metric}, which does not add up over rows: choose another metric, or leave "
                "slices out."
            )

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
        of_slices = [(f"slicing {slicing.name}", slicing.reads) for slicing in self.slices]
        for owner, names in ((of_model, model.reads), (of_task, self.reads), *of_slices):
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

    def run(self, model: nn.Module, variables: Mapping[str, Any], batch: Batch) -> dict[str, Ratio]:
        """Returns the measures of a model on a batch that add up, in an evaluation.

        Args:
          model: a Flax module that says with `reads` which arrays it needs, and may say with `may_read` which ones it
            takes where the batch has them; each is given by its name.
          variables: all its collections.
          batch: named arrays, [B, ...]; rows that "valid" [B] marks as False do not count.
        """
        return self.measure(_output(model, variables, batch), batch)

    def train(
        self, model: nn.Module, variables: Mapping[str, Any], batch: Batch, *, dropout: PRNGKeyArray
    ) -> tuple[dict[str, Ratio], dict[str, Any]]:
        """Returns the measures of a model on a batch in training, and its mutable collections after it.

        What layers sow into "losses" is added to the loss of each item, so that the mean loss is that of the task and
        their sum, which is the measure "aux_loss".

        Args:
          model: a Flax module, as of `run`.
          variables: all its collections.
          batch: as of `run`.
          dropout: what the dropout of this batch is drawn from.

        Raises:
          Refused: the model writes into a collection that it does not declare, or gives one another shape.
        """
        arrays, rngs = arrays_of(model, batch), {"dropout": dropout}
        output, written = model.apply(variables, **arrays, deterministic=False, rngs=rngs, mutable=_WRITTEN)
        check_collections(model, written)
        measures = self.measure(output, batch)
        if self.training_loss is not None:
            measures["loss"] = weighted(*self.training_loss(output, self._asked(batch)))
        if LOSSES in written:
            aux = sum(jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(written[LOSSES]))
            total, weight = measures["loss"]
            measures |= {"loss": Ratio(total + aux * weight, weight), "aux_loss": Ratio(aux * weight, weight)}
        after = {name: written[name] for name in mutable(model) if name in written}
        _check_shapes(model, {name: variables[name] for name in after if name in variables}, after)
        return measures, after

    def run_slices(self, model: nn.Module, variables: Mapping[str, Any], batch: Batch) -> dict[str, Ratio]:
        """Returns the metric of a model on each slice of a batch, by slicing; arguments as of `run`."""
        output = _output(model, variables, batch)
        items = self.items(output, self._asked(batch))[self.metric]
        return {
            slicing.name: _sliced(items, _at_asked(batch, slicing.of(batch)), slicing.count(output, batch))
            for slicing in self.slices
        }

    def measure(self, output: Array, batch: Batch) -> dict[str, Ratio]:
        """Returns the measures of a model's output on a batch; where that has "asked", the output is of those."""
        return {name: weighted(*items) for name, items in self.items(output, self._asked(batch)).items()}

    def _asked(self, batch: Batch) -> Batch:
        return {**batch, **{name: _at_asked(batch, batch[name]) for name in self.reads}}


def _output(model: nn.Module, variables: Mapping[str, Any], batch: Batch) -> Any:
    return model.apply(variables, **arrays_of(model, batch), deterministic=True)


def _check_shapes(model: nn.Module, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Checks that collections come out of a step as they went in, since the next one takes them.

    Raises:
      Refused: they do not.
    """

    def kinds(collections: Mapping[str, Any]) -> dict[str, str]:
        leaves = jax.tree_util.tree_leaves_with_path(collections)
        return {
            jax.tree_util.keystr(keys, simple=True, separator="/"): f"{leaf.dtype}{list(leaf.shape)}"
            for keys, leaf in leaves
        }

    there, here = kinds(before), kinds(after)
    changed = sorted(path for path in {*there, *here} if there.get(path) != here.get(path))
    if changed:
        was, now = (of.get(changed[0], "absent") for of in (there, here))
        raise Refused(
            f"model {type(model).__name__} changes {changed[0]} from {was} to {now} in a step: make it in the call "
            "without dropout too, and keep its shape and dtype."
        )


def _at_asked(batch: Batch, array: Array) -> Array:
    """Returns what an array of positions [B, T, ...] holds at those that are asked for; of examples [B] as it is."""
    if "asked" not in batch or array.ndim == 1:
        return array
    places = batch["asked"].reshape(*batch["asked"].shape, *(1,) * (array.ndim - 2))
    return jnp.take_along_axis(array, places, axis=1)


def _sliced(items: Items, which: Int[Array, "..."], count: int) -> Ratio:
    """Returns the sums of each of `count` slices. Not a scatter, whose sums have no fixed order on a GPU."""
    which = which.reshape(which.shape + (1,) * (items.values.ndim - which.ndim))
    within = which[..., None] == jnp.arange(count)
    axes = tuple(range(items.values.ndim))
    parts = (items.values * items.weights, items.weights)
    return Ratio(*(jnp.sum(jnp.where(within, part[..., None], 0), axis=axes) for part in parts))


tasks: Catalogue = Catalogue("task", "attention_jax.tasks")

register = tasks.register


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


def are_likeliest(logits: Float[Array, "*a V"], targets: Int[Array, "*a"]) -> Float[Array, "*a"]:
    """Returns 1 where the target has the highest logit, the first of equals, and 0 elsewhere.

    It is argmax(logits) == targets, but by maxima: XLA on a CPU takes 24 times as long for an argmax of 8192.
    """
    highest = logits.max(-1, keepdims=True)
    own = jnp.take_along_axis(logits, targets[..., None], axis=-1)
    earlier = (logits == highest) & (jnp.arange(logits.shape[-1]) < targets[..., None])
    return ((own == highest)[..., 0] & ~earlier.any(-1)).astype(jnp.float32)


def weighted(values: Float[Array, "..."], weights: Float[Array, "..."]) -> Ratio:
    """Returns the weighted sum of the values and the sum of the weights."""
    return Ratio(jnp.sum(values * weights), jnp.sum(weights))
