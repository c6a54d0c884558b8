"""A model with its weights, set before prompts: what `generate`, `stream` and `beam_search` go on from."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Int

from attention_jax.base.errors import Refused
from attention_jax.decoding.layout import ModelAdvance
from attention_jax.decoding.protocol import State
from attention_jax.decoding.unscanned import unscanned


@dataclass(frozen=True)
class Prompted:
    """The first arguments of a decoding loop, and what ends its sequences.

    Attributes:
      advance: the model with its weights.
      state: of no tokens yet.
      prompt: int32 [B, P], padded on the right: the prompts, or the begin token where they are a source.
      lengths: int32 [B], how many of them are not padding.
      end: the tokens that end a sequence.
    """

    advance: Partial
    state: State
    prompt: Int[Array, "B P"]
    lengths: Int[Array, " B"]
    end: tuple[int, ...]


def advance_of(model: nn.Module, variables: Mapping[str, Any]) -> Partial:
    """Returns a model with its weights as an `Advance`.

    Args:
      model: one with a method `advance`, such as GPT or Transformer.
      variables: its weights.
    """
    return Partial(ModelAdvance(model), dict(variables))


def has_memory(model: nn.Module) -> bool:
    """Returns whether a model that decodes writes a target to a source, and does not continue its prompt."""
    return "source" in getattr(model, "reads", ())


def room(model: nn.Module, prompt: int) -> int:
    """Returns how many new tokens a model has room for; the last of them need not be advanced over.

    Args:
      model: one that decodes.
      prompt: the tokens of its prompt.
    """
    return int(model.target_length) if has_memory(model) else int(model.length) - prompt + 1


def prompted(
    model: nn.Module,
    variables: Mapping[str, Any],
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    width: int | None = None,
) -> Prompted:
    """Returns a model with its weights before prompts, which may be of unequal length.

    Args:
      model: one with methods `start` and `advance`.
      variables: its weights.
      prompts: the tokens of each, without a begin or an end. A model that writes to a source takes them as sources.
      max_new_tokens: M, for which the state has room.
      width: what the prompts are padded to, so that batches have one shape; None is the longest of them.

    Raises:
      Refused: a prompt is empty or longer than the model's context, it and M tokens together are, or the attention is
        not decoded in steps.
    """
    memory = has_memory(model)
    for prompt in prompts:
        check_room(model, prompt, max_new_tokens)
    rows = [[*prompt, model.end] if memory else list(prompt) for prompt in prompts]
    lengths = np.array([len(row) for row in rows], np.int32)
    tokens = np.zeros((len(rows), max(width or 0, lengths.max())), np.int32)
    for row, taken in enumerate(rows):
        tokens[row, : len(taken)] = taken
    model, variables = unscanned(model, variables)
    advance = advance_of(model, variables)
    if not memory:
        state = _start(model, variables, len(rows), tokens.shape[1] + max_new_tokens - 1)
        return Prompted(advance, state, jnp.asarray(tokens), jnp.asarray(lengths), end=())
    state = _start_at(model, variables, tokens, lengths, max_new_tokens)
    begin = jnp.full((len(rows), 1), model.begin, jnp.int32)
    return Prompted(advance, state, begin, jnp.ones(len(rows), jnp.int32), end=(model.end,))


@functools.partial(jax.jit, static_argnames=("model", "batch", "capacity"))
def _start(model: nn.Module, variables: Any, batch: int, capacity: int) -> State:
    return model.apply(variables, batch, capacity, method="start")


@functools.partial(jax.jit, static_argnames=("model", "capacity"))
def _start_at(model: nn.Module, variables: Any, source: Array, lengths: Array, capacity: int) -> State:
    return model.apply(variables, source, source_lengths=lengths, capacity=capacity, method="start")


def check_room(model: nn.Module, prompt: Sequence[int], max_new_tokens: int) -> None:
    """Checks that a model can take a prompt and write so many tokens.

    Raises:
      Refused: it cannot: see `prompted`.
    """
    memory, new = has_memory(model), max_new_tokens
    most, tokens = (model.source_length, len(prompt) + 1) if memory else (model.length, len(prompt))
    if new < 1:
        raise Refused(f"max_new_tokens={new}: give at least 1.")
    if not tokens:
        raise Refused("the prompt is empty, and a language model continues a token: give one at least.")
    if tokens > most:
        raise Refused(f"the prompt has {tokens} tokens, and the model's context has {most}: shorten it.")
    if new > room(model, tokens):
        first = "" if memory else f" and a prompt of {tokens} tokens"
        raise Refused(
            f"max_new_tokens={new}{first} are more than the {model.target_length if memory else most} tokens that the "
            f"model was trained on: give max_new_tokens={room(model, tokens)} or fewer."
        )
