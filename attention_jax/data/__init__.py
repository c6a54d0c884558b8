"""Data: where examples come from and how they are batched."""

from attention_jax.data.batches import Batches, evaluation_batches, train_batches
from attention_jax.data.dataset import ArraySource, Dataset, Source, build, names
from attention_jax.data.prepare import prepare

__all__ = [
    "ArraySource",
    "Batches",
    "Dataset",
    "Source",
    "build",
    "evaluation_batches",
    "names",
    "prepare",
    "train_batches",
]
