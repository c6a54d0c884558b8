"""The sections of a config that are of no catalogue, and what is made of their keys."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from attention_jax.base.errors import Refused
from attention_jax.base.options import AtLeast, check_bounds, check_options
from attention_jax.training.parallel.sharding import MeshSizes
from attention_jax.training.run.wandb_run import check_wandb
from attention_jax.training.step import Instability

Section = Mapping[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """The section `config.evaluation`.

    Attributes:
      every: steps between two evaluations on the validation split; 0 evaluates at the end only. At the end the test
        split, where there is one, is evaluated too.
      batch_size: rows of an evaluation batch; None is that of training.
      patience: the run ends when the task's metric on the validation split was not better than its best in this many
        evaluations in a row; 0 never ends it.
      target: the run ends when that metric is this good, such as 0.99; None never ends it.
      collect: whether each evaluation has the scores of the task too, which are computed from what is collected of a
        whole split, by decoding, say. Without it they come at the end of the run, since they are dear, and at each
        evaluation where one of them decides.
    """

    every: Annotated[int, AtLeast(0)] = 0
    batch_size: Annotated[int | None, AtLeast(1)] = None
    patience: Annotated[int, AtLeast(0)] = 0
    target: float | None = None
    collect: bool = False


@dataclass(frozen=True)
class Checkpointing:
    """The section `config.checkpoint`.

    Attributes:
      every: steps between two checkpoints; 0 saves at the end (and when interrupted) only.
      keep: how many stay.
      best: whether each evaluation that is the best so far, by the task's metric on the validation split, is followed
        by a checkpoint, and the best one stays beside those; the score of the run is then that of the best.
    """

    every: Annotated[int, AtLeast(0)] = 0
    keep: Annotated[int, AtLeast(1)] = 2
    best: bool = False


@dataclass(frozen=True)
class Logging:
    """The section `config.log`.

    Attributes:
      every: steps between two lines of `metrics.jsonl`, each with the loss of that step's batch.
      tensorboard: whether to write TensorBoard events too.
      wandb: whether to log to Weights & Biases too, as WANDB_PROJECT, WANDB_ENTITY and WANDB_MODE say.
      layer_norms: whether each line has the norms of each layer's gradient and update too.
    """

    every: Annotated[int, AtLeast(1)] = 10
    tensorboard: bool = True
    wandb: bool = False
    layer_norms: bool = False

    def __post_init__(self) -> None:
        if self.wandb:
            check_wandb()


@dataclass(frozen=True)
class Init:
    r"""The section `config.init`: weights that a run starts from, in place of those that its seed draws.

    Each array of the model has a path, "block_0/attention/query/kernel"; those that are no parameters have the name of
    their collection before it, "buffers/...". Each is to be in the source, in its shape, or skipped, and each array of
    the source is to be of the model, skipped, or renamed to nothing.

    Attributes:
      source: the folder of a run, of which the checkpoint is taken that its score is of (before its end the last), with
        the average of the parameters where it keeps one; or a .safetensors file of such paths, "/" or "." between the
        names; None starts from drawn weights. A run that goes on does not read it again.
      rename: (pattern of whole paths of the source, replacement), such as ((r"encoder/(.*)", r"\1"),), one after the
        other; what is renamed to "" is left out.
      skip: patterns of the whole paths of what stays as drawn, such as ("head/.*",).
      vectors: a file of word vectors in word2vec's text format, or its binary one (.bin), from which a table of the
        model gets the rows of the words that are in both; the other rows stay as the source or the seed has them.
      table: the path of that table, [V, D], a row for each token of the vocabulary.
    """

    source: str | None = None
    rename: tuple = ()
    skip: tuple = ()
    vectors: str | None = None
    table: str = "token/embedding"

    @property
    def is_given(self) -> bool:
        """Whether there is something to start from."""
        return self.source is not None or self.vectors is not None

    def __post_init__(self) -> None:
        if (self.rename or self.skip) and self.source is None:
            raise Refused("init.rename and init.skip are of an init.source, which is None: give it, or leave them out.")
        if not _are(self.rename, lambda pair: _are(pair, _is_text) and len(pair) == 2):
            raise Refused(f"init.rename={self.rename!r}: give (pattern, replacement) pairs, such as (('old', 'new'),).")
        if not _are(self.skip, _is_text):
            raise Refused(f"init.skip={self.skip!r}: give a tuple of patterns of paths, such as ('head/.*',).")
        for pattern in (*(pattern for pattern, _ in self.rename), *self.skip):
            try:
                re.compile(pattern)
            except re.error as error:
                raise Refused(f"init: {pattern!r} is no regular expression: {error}.") from error


def _are(values: Any, one: Callable[[Any], bool]) -> bool:
    return isinstance(values, (tuple, list)) and all(map(one, values))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


SECTIONS: dict[str, Any] = {
    "mesh": MeshSizes,
    "evaluation": Evaluation,
    "checkpoint": Checkpointing,
    "log": Logging,
    "instability": Instability,
    "init": Init,
}


def section(name: str, given: Section | None) -> Any:
    """Returns one of `SECTIONS` made of its keys.

    Raises:
      Refused: a key is unknown, or its value is of another type.
    """
    options = dict(given or {})
    check_options(SECTIONS[name], options, owner=f"config.{name}")
    check_bounds(SECTIONS[name], options, owner=f"{name}.")
    return SECTIONS[name](**options)
