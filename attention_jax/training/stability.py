"""What a run does about steps that went wrong: it ends, or counts them and ends when there are too many."""

import math
from collections.abc import Callable, Mapping

from attention_jax.training.run.outcome import RunFailed
from attention_jax.training.step import Instability

_LOWER = "Lower optimizer.learning_rate or optimizer.clip_norm"


def check_stable(
    instability: Instability,
    *,
    step: int,
    bad_step: int,
    skipped: int,
    values: Mapping[str, float],
    kept: Callable[[], str],
) -> None:
    """Ends a run that is to go no further.

    Args:
      instability: what the config says.
      step: updates done.
      bad_step: the first that went wrong; -1 for none.
      skipped: how many were passed over.
      values: what was measured at `step`: "train_loss" and "gradient_norm".
      kept: says what there is to go on from, such as "the checkpoint of step 6 is kept".

    Raises:
      RunFailed: a step went wrong and none is to be skipped, or more were skipped than may be.
    """
    if instability.action == "skip":
        if skipped > instability.most_skipped:
            raise RunFailed(
                f"{skipped} steps up to step {step} were skipped, the first of them step {bad_step}, since "
                f"{_what(instability)}, and instability.most_skipped is {instability.most_skipped}; {kept()}. "
                f"{_LOWER}, or raise instability.most_skipped."
            )
    elif bad_step >= 0:
        # A loss that is not finite stays so once the parameters have been updated with its gradient.
        finite = all(math.isfinite(values[name]) for name in ("train_loss", "gradient_norm"))
        if instability.spike is not None and finite:
            raise RunFailed(
                f"the norm of the gradient spiked at step {bad_step}: it is more than {instability.spike:g} times its "
                f"running mean; {kept()}. {_LOWER}, raise instability.spike, or set instability.action='skip'."
            )
        raise RunFailed(f"the loss or its gradient is not finite from step {bad_step} on; {kept()}. {_LOWER}.")


def skipped_line(instability: Instability, *, step: int, bad_step: int, skipped: int) -> str:
    """Returns a line on the steps that were skipped up to a step; arguments as of `check_stable`."""
    steps = "1 step" if skipped == 1 else f"{skipped} steps"
    return f"{steps} skipped up to step {step}, the first of them step {bad_step}, since {_what(instability)}"


def _what(instability: Instability) -> str:
    spike = f", or the norm spiked above {instability.spike:g} times its mean" if instability.spike is not None else ""
    return f"the loss or its gradient was not finite{spike}"
