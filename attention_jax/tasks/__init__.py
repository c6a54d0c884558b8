"""What is learned: the loss and the measures of one kind of problem."""

from attention_jax.tasks.task import Ratio, Task, build, higher_is_better, tasks

__all__ = ["Ratio", "Task", "build", "higher_is_better", "tasks"]
