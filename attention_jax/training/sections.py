"""The sections of a config that are of no catalogue, and what is made of their keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from attention_jax.base.options import AtLeast, check_bounds, check_options
from attention_jax.training.sharding import MeshSizes
from attention_jax.training.step import Instability
from attention_jax.training.wandb_run import check_wandb

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


SECTIONS: dict[str, Any] = {
    "mesh": MeshSizes,
    "evaluation": Evaluation,
    "checkpoint": Checkpointing,
    "log": Logging,
    "instability": Instability,
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
