"""What one training run leaves behind, and how it says that it failed."""

from dataclasses import dataclass

import jax

from attention_jax.base.formatting import readable_rate


@dataclass(frozen=True)
class Outcome:
    """The result of a run that reached its end. Times leave out evaluation, saving and compiling.

    Of a member (`training.members`) times, memory and `mfu` are of the step of all members, rates and work its own.

    Attributes:
      metric: name of the score, such as "test_accuracy" or "validation_loss".
      score: value of that metric, in its own unit.
      score_step: the step whose parameters have that score: the last, or the best of those kept (`checkpoint.best`).
      steps: optimizer steps taken; fewer than the config's where no patience was left.
      skipped: those of them that went wrong and were passed over.
      parameters: number of trained parameters.
      train_seconds: wall time of all steps, in seconds.
      compile_seconds: wall time of compiling the training step, in seconds, where the run was last started.
      ms_per_step: typical wall time of one training step, in milliseconds: the median over the windows of records.
      ms_per_step_spread: how far the quartiles of those windows are apart; None where there was one window.
      examples_per_second: examples trained on in a second, the median likewise.
      tokens_per_second: likewise, padding left out where the data tell it (documents that share rows); None where
        examples have no tokens.
      flops_per_step: multiplications and additions of a step on all devices (`flops.count_flops`).
      flops_complete: False where there are more than those, which a count before the run cannot know.
      mfu: their rate as a share of the most that the devices could do (`flops.peak_flops`); None where it is not known.
      input_share: the share of `train_seconds` in which the loop waited for batches.
      peak_bytes: peak memory of the training step, in bytes.
      decode_bytes: what one sequence holds, in all layers, while it is decoded to the model's length, in bytes; None
        for a model that does not decode, or whose attention has no steps.
      slices: the score in each slice of the task, by its label such as "pairs=8"; None where it gives none.
    """

    metric: str
    score: float
    score_step: int
    steps: int
    skipped: int
    parameters: int
    train_seconds: float
    compile_seconds: float
    ms_per_step: float
    ms_per_step_spread: float | None
    examples_per_second: float
    tokens_per_second: float | None
    flops_per_step: float
    flops_complete: bool
    mfu: float | None
    input_share: float
    peak_bytes: int
    decode_bytes: int | None
    slices: dict[str, float] | None = None


def describe_speed(outcome: Outcome, *, padded: bool) -> str:
    """Returns one line on the throughput of a run: its rate, its work, how much that is of the most, its input.

    Args:
      outcome: of the run.
      padded: whether the tokens that were counted are in part padding.
    """
    if outcome.tokens_per_second is None:
        rate = readable_rate(outcome.examples_per_second, "examples/s")
    else:
        rate = readable_rate(outcome.tokens_per_second, f"tokens/s{' with padding' if padded else ''}")
    least = "" if outcome.flops_complete else "at least "
    of = "a product of matrices measured here" if jax.default_backend() == "cpu" else "the bfloat16 peak"
    mfu = "MFU not known for this device" if outcome.mfu is None else f"MFU {least}{100 * outcome.mfu:.3g}% of {of}"
    work = f"{least}{readable_rate(outcome.flops_per_step, 'FLOP')} a step"
    return f"{rate}, {work}, {mfu}, {outcome.input_share:.1%} of the time waiting for data"


class RunFailed(RuntimeError):
    """The run started and could not be finished (its loss is no longer finite, say); the message is one line."""
