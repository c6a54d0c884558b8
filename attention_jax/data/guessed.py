"""What a guess about a stranger's data says."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["texts", "images", "language"]


@dataclass(frozen=True)
class Guess:
    """What a file, a folder or a prepared set is.

    Attributes:
      kind: "texts" with a label each, "images" with a label each, or "language": a running text to predict.
      section: the section `data` of an experiment.
      train_examples: how many there are to train on, about: a share of all. Of a running text its characters.
      length: tokens of a text; of images their height and width.
      lines: words on what was guessed, for the user.
    """

    kind: Kind
    section: dict[str, Any]
    train_examples: int
    length: tuple[int, ...]
    lines: tuple[str, ...]


def fractions(examples: int) -> dict[str, float]:
    """Returns the shares of the validation and the test split of so many labelled examples."""
    return {"validation_fraction": 0.1 if examples >= 500 else 0.2, "test_fraction": 0.2}


def split_line(train: int, validation: int, test: int, *, copies: str) -> str:
    """Returns the words on splits."""
    return f"splits, stratified by class, seed 0: train {train}, validation {validation}, test {test}{copies}"


def class_lines(counts: dict[str, int], *, noun: str) -> list[str]:
    """Returns the words on classes, by name and their examples, the largest first.

    Args:
      counts: examples by class.
      noun: what an example is, such as "text".
    """
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    said = ", ".join(f"{name} {count}" for name, count in ordered[:_NAMED])
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    lines = [f"{len(ordered)} classes: {said}{more}"]
    few = [name for name, count in ordered if count < _FEW]
    if few:
        lines.append(f"classes of fewer than {_FEW} {noun}s ({len(few)}), such as {few[-1]!r}, are not in each split")
    return lines


_NAMED, _FEW = 6, 5
