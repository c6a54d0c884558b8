"""A data set, a model and a task of one's own in one file, and the config of an experiment with them."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from attention_jax import data, models, tasks
from attention_jax.layers import Seen, Stack, StackOptions


class Clouds:
    """Examples, by number: clouds of 8 points, and how far the farthest of each is from the origin."""

    def __init__(self, examples: int, seed: int):
        self.points = np.random.default_rng(seed).normal(size=(examples, 8, 2)).astype(np.float32)

    def __len__(self) -> int:
        return len(self.points)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        points = self.points[indices]
        return {"points": points, "farthest": np.linalg.norm(points, axis=-1).max(axis=1)}


@data.register
def clouds(*, examples: int = 512) -> data.Dataset:
    """Clouds of points, and how far the farthest is."""
    return data.Dataset({"train": Clouds(examples, seed=0), "validation": Clouds(64, seed=1)}, facts={})


@models.register("point_transformer")
class PointTransformer(nn.Module):
    """Reads points, which have no order. The options of its stack are keys of `config.model`."""

    stack: StackOptions = StackOptions(positions="none", num_layers=2, num_heads=2, width=16)
    reads = ("points",)

    @nn.compact
    def __call__(self, points, *, deterministic: bool = True):
        """Returns a number for each cloud, [B]."""
        hidden = nn.Dense(self.stack.width)(points)
        hidden = Stack(self.stack)(hidden, Seen(), deterministic=deterministic).hidden
        return nn.Dense(1)(hidden.max(axis=1))[:, 0]


@tasks.register
def distance(*, metric: str = "loss") -> tasks.Task:
    """The squared error of a number for each example."""

    def items(output, batch):
        squares = jnp.square(output - batch["farthest"])
        return {"loss": tasks.Items(squares, tasks.row_weights(batch, len(output)))}

    return tasks.Task(metric=metric, reads=("farthest",), items=items)


def get_config() -> ConfigDict:
    """Returns 100 steps on 32 clouds each."""
    return ConfigDict(
        {
            "data": {"name": f"{__file__}:clouds"},
            "model": {"name": f"{__file__}:point_transformer"},
            "task": {"name": f"{__file__}:distance"},
            "optimizer": {"learning_rate": 3e-3},
            "batch_size": 32,
            "steps": 100,
        }
    )
