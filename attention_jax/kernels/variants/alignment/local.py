"""What Luong's two local attentions share: the score that they weigh the keys of a window by."""

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.kernels.mechanism import SoftmaxScore
from attention_jax.kernels.variants.alignment.dot import dot
from attention_jax.kernels.variants.alignment.general import general

SCORES = {"dot": dot, "general": general}


def score_called(score: str, *, window: int, owner: str) -> SoftmaxScore:
    """Returns the mechanism of a score.

    Args:
      score: its name.
      window: the paper's D.
      owner: the name of the variant, for the messages.

    Raises:
      Refused: there is no such score, or the window is smaller than 1.
    """
    if score not in SCORES:
        raise Refused(f"{owner}:score={score} is none of {', '.join(SCORES)}.{did_you_mean(score, SCORES)}")
    if window < 1:
        raise Refused(f"{owner}:window={window} is too small: give at least 1, the keys on each side of the centre.")
    made = SCORES[score]()
    assert isinstance(made, SoftmaxScore)
    return made
