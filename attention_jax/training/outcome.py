"""What one training run leaves behind, and how it says that it failed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """The result of a run that reached its last step.

    Attributes:
      metric: name of the score, such as "test_accuracy" or "validation_loss".
      score: value of that metric, in its own unit.
      steps: optimizer steps taken.
      parameters: number of trained parameters.
      train_seconds: wall time of the run, in seconds.
      ms_per_step: typical wall time of one training step, in milliseconds.
      peak_bytes: peak memory of the training step, in bytes.
    """

    metric: str
    score: float
    steps: int
    parameters: int
    train_seconds: float
    ms_per_step: float
    peak_bytes: int


class RunFailed(RuntimeError):
    """The run started and could not be finished (its loss is no longer finite, say); the message is one line."""
