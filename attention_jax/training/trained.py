"""A model that was trained, from the folder of its run: for what uses it and trains no more."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from attention_jax import data as data_sets
from attention_jax import models, tasks
from attention_jax.base.errors import Refused
from attention_jax.base.options import with_tuples
from attention_jax.data import Dataset
from attention_jax.layers.paths import path_of
from attention_jax.training.checkpoints import Checkpoints
from attention_jax.training.evaluations import chosen_step
from attention_jax.training.run.workdir import usable
from attention_jax.training.weights import problem_of, scored_step, variables_of


@dataclass(frozen=True)
class Trained:
    """A trained model and its data.

    Attributes:
      model: the Flax module.
      variables: its weights, the average of the parameters where one was kept, on the first device.
      dataset: what it was trained on.
      step: of the checkpoint.
    """

    model: nn.Module
    variables: dict[str, Any]
    dataset: Dataset
    step: int


def restore_trained(workdir: Path, *, checkpoint: str | None = None, say: Callable[[str], None]) -> Trained:
    """Returns the model of a run, built anew from the config in its folder, with the weights of a checkpoint.

    Args:
      workdir: the folder of the run; nothing in it is changed.
      checkpoint: "last", "best" or a step; None is the one that the run's score is of.
      say: told of damaged checkpoints.

    Raises:
      Refused: the folder holds no run or no such checkpoint, its data set or model cannot be built, or the weights are
        not of that model.
    """
    config = _config(workdir)
    checkpoints = Checkpoints(workdir, keep=1, say=say, read_only=True)
    try:
        steps = checkpoints.steps()
        if not steps:
            raise Refused(f"workdir {str(workdir)!r} holds no whole checkpoint: train it first, with launch.py train.")
        if checkpoint is None:
            step = scored_step(workdir, steps)
        else:
            step = chosen_step(tasks.build(**config["task"]), workdir, checkpoint, steps)
        variables = variables_of(checkpoints, step)
    finally:
        checkpoints.close()
    dataset = data_sets.build(**config["data"])
    model = models.build(facts=dataset.facts, **config["model"])
    _check_fit(workdir, model, dataset, variables)
    return Trained(model, jax.device_put(variables), dataset, step)


def _config(workdir: Path) -> dict[str, Any]:
    path = workdir / "config.json"
    with usable(workdir):
        if not path.is_file():
            raise Refused(f"workdir {str(workdir)!r} holds no run: train one first, with launch.py train.")
        text = path.read_text()
    try:
        config = with_tuples(json.loads(text))
    except ValueError as error:
        raise Refused(f"workdir {str(workdir)!r} cannot be used: its config.json is damaged ({error}).") from error
    if not isinstance(config, dict) or not {"data", "model", "task"} <= config.keys():
        raise Refused(
            f"workdir {str(workdir)!r} is not of one run, but of a study: give the folder of one of its runs."
        )
    return config


def _check_fit(workdir: Path, model: nn.Module, dataset: Dataset, variables: dict[str, Any]) -> None:
    """Checks that the data that are there now give the model that was trained.

    Raises:
      Refused: an array has another shape, such as the embedding of a vocabulary that has changed.
    """
    example = models.arrays_of(model, dataset.splits["train"].gather(np.zeros(1, np.int64)))
    made = jax.eval_shape(lambda: model.init(jax.random.key(0), **example))
    here = _by_path({name: made.get(name, {}) for name in variables})
    there = _by_path(variables)
    for path in sorted({*here, *there}):
        problem = problem_of(path, there.get(path), here.get(path))
        if problem:
            raise Refused(
                f"workdir {str(workdir)!r} holds weights that its config no longer gives ({problem}): its data set is "
                "another one than that of training."
            )


def _by_path(tree: Any) -> dict[str, Any]:
    return {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)}
