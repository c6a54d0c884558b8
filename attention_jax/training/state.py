"""All that a training step reads and writes, as one plain pytree."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PRNGKeyArray


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """What a checkpoint holds of a run.

    Attributes:
      step: how many updates were made.
      params: the trained parameters, a nested dict.
      buffers: the model's random arrays that are not trained, a nested dict.
      opt_state: the optimizer's.
      key: what all randomness of training is drawn from, with the step.
      bad_step: the first step whose loss or gradient was not finite; -1 for none.
    """

    step: Int[Array, ""]
    params: Any
    buffers: Any
    opt_state: Any
    key: PRNGKeyArray
    bad_step: Int[Array, ""]

    @property
    def variables(self) -> dict[str, Any]:
        """What the model is applied with."""
        return {"params": self.params, "buffers": self.buffers}


def create_state(model: nn.Module, example: Any, optimizer: optax.GradientTransformation, *, seed: int) -> TrainState:
    """Draws the parameters and makes the state before the first step.

    Args:
      model: a Flax module.
      example: an input of the shape it will have in training.
      optimizer: what will update the parameters.
      seed: what everything random is drawn from.
    """
    for_init, for_training = jax.random.split(jax.random.key(seed))
    variables = model.init(for_init, example)
    return TrainState(
        step=jnp.int32(0),
        params=variables["params"],
        buffers=variables.get("buffers", {}),
        opt_state=optimizer.init(variables["params"]),
        key=for_training,
        bad_step=jnp.int32(-1),
    )
