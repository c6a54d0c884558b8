"""How a model says what `launch.py look` shows of it."""

from typing import NamedTuple


class Looked(NamedTuple):
    """Weights that a model sows into `LOOKED_AT`, float32 [B, N, T, S], and what their rows and columns are.

    A model has a tuple of them as its class variable `looks`; those whose weights it did not form are left out.

    Attributes:
      path: a regular expression of the module that sows them, such as "pooling" or r"pairing_\\d+"; each that fits is
        shown, in the order of the paths.
      title: the heading.
      columns: the array of the batch whose tokens the columns are, such as "tokens". Of an array [B, S, W] of sequences
        the weights [B S, N, 1, W] are of each sequence's own tokens.
      rows: the array of the batch whose tokens the rows are; None where there is the one row of a pooling.
      whole: whether the columns are the sequences of an array [B, S, W], and not their tokens.
    """

    path: str
    title: str
    columns: str
    rows: str | None = None
    whole: bool = False
