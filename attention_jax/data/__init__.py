"""Data: where examples come from and how they are batched."""

from attention_jax.data.batches import Batches, evaluation_batches, train_batches
from attention_jax.data.dataset import ArraySource, Dataset, Source, build, names, register
from attention_jax.data.order import evaluation_order, shape_examples
from attention_jax.data.prefetch import Ahead, ahead
from attention_jax.data.prepare import check_prepared, prepare

__all__ = [
    "Ahead",
    "ArraySource",
    "Batches",
    "Dataset",
    "Source",
    "ahead",
    "build",
    "check_prepared",
    "evaluation_batches",
    "evaluation_order",
    "names",
    "prepare",
    "register",
    "shape_examples",
    "train_batches",
]
