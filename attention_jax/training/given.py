"""Which run of an experiment one is: its seed, its learning rate and its folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attention_jax.data.seeds import check_seed
from attention_jax.training.experiment import Experiment
from attention_jax.training.optimizer import check_learning_rate
from attention_jax.training.run.progress import Progress


@dataclass(frozen=True)
class Given:
    """Which run of an experiment: what its seeds and learning rates differ in.

    Attributes:
      workdir: its folder.
      seed: what everything random in it is drawn from.
      learning_rate: the largest that its schedule reaches.
      config: of the experiment, with both.
      progress: told what happens.
      tested: whether it is scored on the test split, where there is one.
    """

    workdir: Path
    seed: int
    learning_rate: float
    config: dict[str, Any]
    progress: Progress
    tested: bool = True


def given(
    experiment: Experiment,
    workdir: Path,
    *,
    seed: int | None = None,
    learning_rate: float | None = None,
    progress: Progress | None = None,
    tested: bool = True,
) -> Given:
    """Returns a run of an experiment, with a seed and a learning rate in place of the config's where they are given.

    Raises:
      Refused: one is out of its range.
    """
    config = dict(experiment.config)
    if seed is not None:
        check_seed(seed, name="seed")
        config["seed"] = seed
    if learning_rate is not None:
        check_learning_rate(learning_rate)
        config["optimizer"] = {**config["optimizer"], "learning_rate": learning_rate}
    rate = experiment.learning_rate if learning_rate is None else learning_rate
    return Given(workdir, config["seed"], rate, config, progress or Progress(), tested)
