"""State, step, loop, optimizer, checkpoints: one training and evaluation loop for every experiment."""

from attention_jax.training.evaluations import evaluate_checkpoint
from attention_jax.training.experiment import Experiment
from attention_jax.training.loop import train
from attention_jax.training.run.interrupt import Interrupted
from attention_jax.training.run.outcome import Outcome, RunFailed
from attention_jax.training.run.progress import Progress

__all__ = ["Experiment", "Interrupted", "Outcome", "Progress", "RunFailed", "evaluate_checkpoint", "train"]
