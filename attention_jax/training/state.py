"""All that a training step reads and writes, as one plain pytree."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt32

from attention_jax.models import check_collections, mutable


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """What a checkpoint holds of a run.

    Attributes:
      step: how many updates were made.
      params: the trained parameters, a nested dict.
      buffers: the model's random arrays that are not trained, a nested dict.
      mutable: the collections that the model declares as such, a nested dict: batch statistics, say.
      opt_state: the optimizer's.
      key: what all randomness of training is drawn from, with the step: the data of a JAX key, since a step takes and
        gives numbers in less of the host's time than keys.
      bad_step: the first step whose loss or gradient was not finite, or spiked; -1 for none.
      skipped: how many such steps were passed over.
      typical_norm: running mean of the gradient's norm, over the steps that were not passed over.
      average: the exponential moving average of the parameters, in at least float32, since a step changes it by less
        than a narrower type can tell; an empty dict when none is kept.
    """

    step: Int[Array, ""]
    params: Any
    buffers: Any
    mutable: Any
    opt_state: Any
    key: UInt32[Array, "2"]
    bad_step: Int[Array, ""]
    skipped: Int[Array, ""]
    typical_norm: Float[Array, ""]
    average: Any

    @property
    def variables(self) -> dict[str, Any]:
        """What the model is applied with when it is evaluated: the average of the parameters where one is kept."""
        return {"params": self.average or self.params, "buffers": self.buffers, **self.mutable}


def create_state(
    model: nn.Module,
    example: Mapping[str, Any],
    optimizer: optax.GradientTransformation,
    *,
    seed: int | Array,
    param_dtype: str = "float32",
    with_average: bool = False,
) -> TrainState:
    """Draws the parameters and makes the state before the first step.

    Args:
      model: a Flax module.
      example: all arrays it will be called with in training, by name, in such shapes, as `models.arrays_of` gives them.
      optimizer: what will update the parameters.
      seed: what everything random is drawn from; within jit a uint32.
      param_dtype: of the parameters, and so of the optimizer's arrays.
      with_average: whether a moving average of the parameters is kept.

    Raises:
      Refused: the model writes into a collection that it does not declare.
    """
    for_init, for_training = jax.random.split(jax.random.key(seed))
    variables = model.init(for_init, **example)
    check_collections(model, variables)
    params = jax.tree.map(lambda array: array.astype(jnp.dtype(param_dtype)), variables["params"])
    opt_state, average = begun(params, optimizer, with_average=with_average)
    return TrainState(
        step=jnp.int32(0),
        params=params,
        buffers=variables.get("buffers", {}),
        mutable={name: variables[name] for name in mutable(model) if name in variables},
        opt_state=opt_state,
        key=jax.random.key_data(for_training),
        bad_step=jnp.int32(-1),
        skipped=jnp.int32(0),
        typical_norm=jnp.float32(0),
        average=average,
    )


def begun(params: Any, optimizer: optax.GradientTransformation, *, with_average: bool) -> tuple[Any, Any]:
    """Returns the optimizer's state and the average before the first step from these parameters."""
    # A copy, since both are donated to the next step.
    average = jax.tree.map(lambda array: jnp.copy(in_float32(array)), params) if with_average else {}
    return optimizer.init(params), average


def in_float32(array: Array) -> Array:
    """Returns an array in float32, or as it is where its dtype is wider."""
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))
