"""How long a run is: in steps, epochs or examples, whichever the config says."""

import math

from attention_jax.base.errors import Refused


def steps_of(
    *, steps: int | None, epochs: float | None, examples: int | None, batch_size: int, train_examples: int
) -> int:
    """Returns the number of steps; a part of a step counts as one.

    Args:
      steps: updates.
      epochs: passes over the train split.
      examples: examples seen.
      batch_size: examples in a step.
      train_examples: examples in the train split.

    Raises:
      Refused: not exactly one of the three is set (None and 0 are not set), or it is negative.
    """
    given = {name: value for name, value in (("steps", steps), ("epochs", epochs), ("examples", examples)) if value}
    if len(given) != 1:
        said = " and ".join(f"{name}={value}" for name, value in given.items())
        what = f"{said} are set: set all but one to 0" if given else "steps, epochs and examples are all 0: set one"
        raise Refused(f"the length of a run is one of steps, epochs and examples. Here {what}.")
    ((name, value),) = given.items()
    if value < 0:
        raise Refused(f"{name}={value}: a run cannot be shorter than nothing; give a positive number.")
    exact = {"steps": value, "epochs": value * train_examples / batch_size, "examples": value / batch_size}[name]
    # 2.2 epochs of 25 examples are 55 and not, as in floating point, a little more.
    return max(1, math.ceil(round(exact, 6)))
