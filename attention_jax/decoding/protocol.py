"""What a model shows of itself to be decoded, and how that and a prompt are checked."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from attention_jax.base.errors import Refused
from attention_jax.kernels.integers import whole_numbers
from attention_jax.kernels.steps import Fixed

State: TypeAlias = Any
"""What a model keeps of the tokens so far: a pytree whose every leaf has the batch as its first axis.

What no step changes may lie in it as `kernels.steps.Fixed`: an encoder's output, its keys and values.
"""

Advance: TypeAlias = Callable[
    [State, Int[Array, "B T"], Int[Array, " B"]],
    tuple[Float[Array, "B V"], State],
]
"""advance(state, tokens, lengths): appends the first lengths[b] of the T tokens of row b.

It returns the logits of the token after the last of them, and the state. T is that of the prompts at first, then 1.
A row of length 0 is over: what becomes of its state, and what its logits are, does not matter.

In beam search the tokens have K rows for each prompt, those of prompt b from row b K on, and so has the state, but for
what is `Fixed` in it, which has one: all beams of a prompt share it.
"""

Constrain: TypeAlias = Callable[
    [Int[Array, "B M"], Int[Array, " B"], Float[Array, "B V"]],
    Float[Array, "B V"],
]
"""constrain(tokens, lengths, logits): returns the logits with -inf at each token that may not come next.

Row b has chosen the first lengths[b] of its tokens, which are those after the prompt; the rest is padding.
"""


def checked_prompt(
    state: State, prompt: Any, prompt_lengths: Any, *, max_new_tokens: int, pad: int
) -> tuple[Int[Array, "B P"], Int[Array, " B"]]:
    """Returns the prompts and their lengths as whole numbers, after a look at all that is given with them.

    Raises:
      Refused: a shape, a length, `max_new_tokens` or `pad` cannot be, or a leaf of the state is not of the batch.
    """
    if max_new_tokens < 1:
        raise Refused(f"max_new_tokens={max_new_tokens}: give at least 1.")
    if pad < 0:
        raise Refused(f"pad={pad}: give a token, 0 or more.")
    prompt = whole_numbers(prompt, owner="the tokens of a prompt")
    if prompt.ndim != 2 or not prompt.size:
        raise Refused(f"prompt has shape {prompt.shape}: give tokens [B, P], one at least in each row.")
    batch, width = prompt.shape
    lengths = whole_numbers(prompt_lengths, owner="prompt_lengths")
    if lengths.shape != (batch,):
        raise Refused(f"prompt_lengths have shape {lengths.shape}: give one for each of the {batch} prompts.")
    if not isinstance(lengths, jax.core.Tracer) and ((lengths < 1) | (lengths > width)).any():
        raise Refused(f"prompt_lengths={lengths.tolist()} are of prompts of {width} tokens: give 1 to {width}.")
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if np.shape(leaf)[:1] != (batch,):
            raise Refused(
                f"state{jax.tree_util.keystr(path)} has shape {np.shape(leaf)} beside {batch} prompts: the first axis "
                "of each leaf is the batch."
            )
    return prompt, lengths


def of_hypotheses(change: Callable[[Array], Array], state: State) -> State:
    """Returns a state with each array changed that is of one continuation; what is `Fixed` stays as it is."""

    def changed(part: Any) -> Any:
        return part if isinstance(part, Fixed) else change(part)

    return jax.tree.map(changed, state, is_leaf=lambda part: isinstance(part, Fixed))


def check_logits(logits: Array, *, batch: int, end: tuple[int, ...]) -> None:
    """Checks that logits are [batch, V], and that a sequence can end with each of the tokens in `end`.

    Raises:
      Refused: they are not, or an end token is none of the V tokens.
    """
    if logits.ndim != 2 or logits.shape[0] != batch:
        raise Refused(f"advance returned logits of shape {logits.shape} for {batch} rows: return [{batch}, V].")
    unknown = [token for token in end if not 0 <= token < logits.shape[1]]
    if unknown:
        raise Refused(f"end={end} names token {unknown[0]}, but the logits are of {logits.shape[1]} tokens.")
