"""What a config file declares of its result, so that `launch.py reproduce` runs it and judges it.

    from attention_jax.study.reproduction.declaration import Expected, Figure, Reproduction

    RESULTS = (
        Reproduction(system="...", data="...", core_minutes=5, expected=Expected(0.88, tolerance=0.01)),
    )

stands beside `get_config` in the file of an experiment, a comparison or a sweep. Nothing else is edited.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from attention_jax.base.errors import Refused


@dataclass(frozen=True)
class Figure:
    """A score that is not measured by the row: a floor, a reference, a published figure.

    Attributes:
      value: in the metric's own unit.
      source: whose it is, in a few words.
    """

    value: float
    source: str


@dataclass(frozen=True)
class Expected:
    """The score that was seen when the row was declared.

    Attributes:
      value: the mean over the seeds.
      tolerance: how far the mean of who reproduces it may lie from it, with one seed too.
    """

    value: float
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """One row of the table of results.

    Attributes:
      system: what is trained, in a few words.
      data: what it is trained on, in a few words; the config says which.
      core_minutes: what one seed of it costs, a comparison's of all variants, a sweep's of all trials: the time of one
        core or device.
      name: of the row; "" takes the file's, with the argument behind it.
      argument: what `get_config` is given ("FILE.py:ARG").
      metric: what is the score, such as "validation_loss"; None takes what a run's outcome is measured by.
      also: further measures of a comparison's runs, each a column of the table, such as "validation_2x_loss".
      expected: the score; of a comparison by "BENCHMARK / VARIANT"; None before it was ever seen.
      bar: the score to reach; None where none is set.
      floor: the score of a model that has learned nothing.
      control: of a comparison, the variant that stands for the floor.
      reference: the score of a strong simple method on this data.
      published: what others report.
      seeds: with which it is trained; a sweep takes the fresh seeds of its config.
      version: raised by hand when the code gives other scores for the same config.

    Raises:
      Refused: a number is out of range.
    """

    system: str
    data: str
    core_minutes: float
    name: str = ""
    argument: str = ""
    metric: str | None = None
    also: tuple[str, ...] = ()
    expected: Expected | Mapping[str, Expected] | None = field(default=None, hash=False)
    bar: float | None = None
    floor: Figure | None = None
    control: str | None = None
    reference: Figure | None = None
    published: Figure | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    version: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.core_minutes) and self.core_minutes > 0):
            raise Refused(f"core_minutes={self.core_minutes} of {self.system!r}: say how long one seed takes, above 0.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise Refused(f"seeds={self.seeds} of {self.system!r}: give at least one, each once.")
        for label, expected in self.expectations.items():
            if not (math.isfinite(expected.value) and expected.tolerance > 0):
                raise Refused(f"{expected} of {(label or self.system)!r}: give a finite value and a tolerance above 0.")

    @property
    def expectations(self) -> Mapping[str, Expected]:
        """The expected scores by the label of what has them, "" where that is the experiment."""
        if self.expected is None:
            return {}
        return {"": self.expected} if isinstance(self.expected, Expected) else self.expected
