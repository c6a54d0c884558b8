"""What a model has to show of one input: where its layers sow weights, and whose tokens name their rows and columns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    """Weights that a module sows into `LOOKED_AT` by the name "weights", float32 [B, N, T, S]: heads, rows, columns.

    A model lists those of its modules in `looks`, a ClassVar that is a tuple of them; those of a `layers.Stack` are
    shown without. What a module sows more than once is shown as its layers.

    Attributes:
      path: of the module within the model, parted by "/"; "" is the model itself.
      title: what they are, the heading of their part of the page.
      rows, columns: the array of `reads` whose tokens, or sentences, name them; None numbers them.
      cells: an array [B, T, S] of `reads` whose tokens stand at the weights; None: they have no tokens of their own.
      by: the field of the model that says by which mechanism.
      nested: whether each row was a sequence of its own: they are [B T, N, 1, S] then.
    """

    path: str
    title: str
    rows: str | None = None
    columns: str | None = None
    cells: str | None = None
    by: str | None = None
    nested: bool = False
