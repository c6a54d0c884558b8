"""What varies in a comparison: any key of the config, by default the attention, with aliases for A/A studies."""

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused
from attention_jax.data.seeds import LARGEST_SEED
from attention_jax.kernels.registry import lookup, split_specs
from attention_jax.training import config

ATTENTION = "model.attention"
_ALIAS = ":="
# Scores of another data set or another task are of another measure, and evaluations decide what a score is of.
_OF_THE_MEASURE = ("data", "task", "evaluation")


@dataclass(frozen=True)
class Choice:
    """One entry of what varies.

    Attributes:
      label: names it in results and reports: its value, behind "KEY=" where another key than the attention varies, and
        behind "NAME:=" where it has an alias.
      value: the text of the key's value.
      entry: the text that it was read from.
    """

    label: str
    value: str
    entry: str


def choices(key: str, text: str) -> tuple[Choice, ...]:
    """Reads "scaled_dot,b:=performer:features=64" for the attention, or "1,2,4" for another key.

    Raises:
      Refused: an alias has no name or no value, or an attention does not exist.
    """
    entries = split_specs(text) if key == ATTENTION else _split(text)
    return tuple(_choice(key, entry) for entry in entries)


def _choice(key: str, entry: str) -> Choice:
    name, sign, value = entry.partition(_ALIAS)
    if not sign:
        name, value = "", entry
    elif not name.strip().isidentifier() or not value.strip():
        raise Refused(f"variant {entry!r}: give NAME:=VALUE, such as again:=scaled_dot.")
    value = value.strip()
    if key == ATTENTION:
        lookup(value)
    plain = value if key == ATTENTION else f"{key}={value}"
    alias = f"{name.strip()}{_ALIAS}" if sign else ""
    return Choice(f"{alias}{plain}", value, f"{alias}{value}")


def _split(text: str) -> list[str]:
    """Splits at commas that stand in no brackets."""
    entries, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            entries.append("")
        else:
            entries[-1] += letter
    return [entry.strip() for entry in entries if entry.strip()]


class Variation:
    """The configs of a comparison: each benchmark with each choice.

    Attributes:
      labels: of the choices, in their order.
    """

    def __init__(self, key: str, chosen: tuple[Choice, ...], benchmarks: Mapping[str, ConfigDict]):
        """Makes them.

        Args:
          key: what varies, a dotted key of an experiment's config.
          chosen: its values.
          benchmarks: the complete config of each.

        Raises:
          Refused: the key decides what is measured, is no key of a benchmark, or does not take a value.
        """
        _check(key)
        self.labels = tuple(choice.label for choice in chosen)
        self._sections = {
            (name, choice.label): _with(part, key, choice.value, owner=f"benchmark {name}")
            for name, part in benchmarks.items()
            for choice in chosen
        }
        values = [choice.value for choice in chosen]
        self._entries = {choice.label: choice.entry for choice in chosen}
        self._again = {c.label for place, c in enumerate(chosen) if c.value in values[:place]}

    def entry_of(self, label: str) -> str:
        """Returns the text of a choice that `choices` reads again."""
        return self._entries[label]

    def config_of(self, benchmark: str, label: str, seed: int) -> dict[str, Any]:
        """Returns what `Experiment(**config)` takes.

        A value that was there before under another name, as in an A/A study, trains with seeds of its own, drawn from
        its label: with the same ones it would be the same run.
        """
        own = seed
        if label in self._again:
            own = int(hashlib.sha256(f"{label} {seed}".encode()).hexdigest(), 16) % (LARGEST_SEED + 1)
        return {**self._sections[benchmark, label], "seed": own}


def _check(key: str) -> None:
    section = key.partition(".")[0]
    if section in _OF_THE_MEASURE:
        raise Refused(
            f"--vary={key} changes what is measured, so that the scores could not be compared: vary a key of the "
            "model, the optimizer or the batch, or make benchmarks of it."
        )
    if key == "seed" or key.rpartition(".")[2] == "name":
        instead = "--seeds" if key == "seed" else "a config for each"
        raise Refused(f"--vary={key}: use {instead} instead.")


def _with(part: ConfigDict, key: str, value: str, *, owner: str) -> dict[str, Any]:
    if key == ATTENTION and "attention" not in part.model:
        raise Refused(f"model {part.model.name!r} of {owner} has no attention to exchange.")
    changed = copy.deepcopy(part)
    config.override(changed, {key: value}, owner=owner)
    return config.plain(config.complete(changed, owner=owner))
