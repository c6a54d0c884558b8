"""What a sweep is: the experiment, the space, who searches it; and what is kept of each trial."""

from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from attention_jax.study.search.base_config import Base
from attention_jax.study.search.space import Points, Space

# What of an outcome stays beside a trial.
OF_OUTCOME = ("steps", "score_step", "parameters", "ms_per_step", "train_seconds", "peak_bytes")
_MOST_SEEDS = 2**32


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is searched, and how.

    Attributes:
      base: the experiment that each trial varies.
      space: what is varied, checked against it; of a grid its points.
      sampler: its name.
      pruner: its spec.
      seed: of the sampler.
      trials: how many; of a grid at most its points.
      best: how many of the best run again.
      fresh_seeds: on how many seeds.
    """

    base: Base
    space: Space | Points
    sampler: str
    pruner: str
    seed: int
    trials: int
    best: int
    fresh_seeds: int

    @property
    def metric(self) -> str:
        """What decides."""
        return f"validation_{self.base.task.metric}"

    @property
    def seeds(self) -> list[int]:
        """The seeds of the second look, none of them that of the search."""
        first = self.base.config()["seed"]
        return [(first + place) % _MOST_SEEDS for place in range(1, self.fresh_seeds + 1)]


def result_of(trial: FrozenTrial) -> dict[str, Any]:
    """Returns the `status`, the `reason` and the parts of the outcome of a trial; nothing of one that is open."""
    return trial.user_attrs.get("result", {})
