"""Our decoding, as `launch.py generate` has it, and the time of reading its weights from memory."""

from typing import Any

import flax.traverse_util
import jax
import numpy as np

from attention_jax import decoding
from attention_jax.base.errors import Refused
from attention_jax.bench.cases import LeftOut
from attention_jax.bench.decodes import EPSILON, READING, DecodeCase, prompts, weights
from attention_jax.bench.step_jax import start
from attention_jax.bench.timing import Ready, per_step, timed
from attention_jax.layers import StackOptions
from attention_jax.models.gpt import GPT

__all__ = ["prepare", "start"]

# More than the caches hold, so that it is the memory that is read.
READ_BYTES = 2**29
SAMPLE_SECONDS = 0.25

_generate = jax.jit(decoding.generate, static_argnames=("max_new_tokens", "end"))


def prepare(case: DecodeCase) -> Ready:
    """Compiles a case and makes it ready to be sampled.

    Raises:
      LeftOut: the sizes are refused.
    """
    if case.who == READING:
        return _to_read(case)
    try:
        return _to_decode(case)
    except Refused as refusal:
        raise LeftOut(f"refused: {refusal}") from refusal


def model_of(case: DecodeCase) -> GPT:
    """Returns GPT-2 in the sizes of a case."""
    options = StackOptions(
        num_layers=case.layers,
        num_heads=case.heads,
        width=case.width,
        activation="gelu_tanh",
        norm_epsilon=EPSILON,
    )
    return GPT(vocabulary_size=case.vocabulary, length=case.tokens + case.new_tokens, stack=options)


def params_of(case: DecodeCase) -> dict[str, Any]:
    """Returns the weights that everyone has, as parameters of the model."""
    loaded = {path: jax.device_put(array) for path, array in weights(case).items()}
    nested: dict[str, Any] = flax.traverse_util.unflatten_dict(loaded, sep="/")
    return nested


def _to_decode(case: DecodeCase) -> Ready:
    model, rows = model_of(case), prompts(case).tolist()
    variables = {"params": params_of(case)}

    def call() -> np.ndarray:
        before = decoding.prompted(model, variables, rows, max_new_tokens=case.new_tokens)
        arguments = before.advance, before.state, before.prompt, before.lengths
        return np.asarray(_generate(*arguments, max_new_tokens=case.new_tokens, end=()).tokens)

    tokens = call().tolist()
    return Ready(per_step(timed(call, at_least=SAMPLE_SECONDS), case.new_tokens), tokens, {"devices": 1})


def _to_read(case: DecodeCase) -> Ready:
    """What a step takes that does nothing but read the weights, at the rate of a scalar product of large vectors."""
    array = np.ones(READ_BYTES // 4, np.float32)
    read = timed(lambda: np.dot(array, array), at_least=SAMPLE_SECONDS)

    def sample() -> dict[str, Any]:
        taken = read()
        gigabytes = READ_BYTES / taken["value"] / 1e6
        return {**taken, "value": taken["value"] * case.weight_bytes / READ_BYTES, "gigabytes_per_second": gigabytes}

    return Ready(sample, about={"devices": 1, "weight_bytes": case.weight_bytes})
