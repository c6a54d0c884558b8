"""What is learned: the loss and the measures of one kind of problem."""

from attention_jax.tasks.slicing import Slicing, slicings
from attention_jax.tasks.task import Items, Ratio, Task, build, higher_is_better, register, row_weights, tasks

__all__ = [
    "Items",
    "Ratio",
    "Slicing",
    "Task",
    "build",
    "higher_is_better",
    "register",
    "row_weights",
    "slicings",
    "tasks",
]
