"""What varies in a comparison: any key of the config, by default the attention, or named patches of several keys."""

import copy
import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.data.seeds import LARGEST_SEED
from attention_jax.kernels.specs import split_specs
from attention_jax.layers.aligned_decoder import NONE, STATIC
from attention_jax.layers.mixer import claims_of
from attention_jax.study.comparison.plan import point_name
from attention_jax.study.search.base_config import text_of
from attention_jax.study.search.domains import split
from attention_jax.study.search.space import leaves
from attention_jax.training import config

ATTENTION = "model.attention"
PATCHES = "patches"
_ALIAS = ":="
_ENTRY = re.compile(rf",\s*(?=[^\W\d]\w*\s*{_ALIAS})")
# Tuned, they would give one variant more data or more updates than another.
_OF_THE_BUDGET = ("steps", "batch_size", "checkpoint")
# Scores of another data set or another task are of another measure, and evaluations decide what a score is of.
_OF_THE_MEASURE = ("data", "task", "evaluation")


@dataclass(frozen=True)
class Choice:
    """One entry of what varies.

    Attributes:
      label: names it in results and reports: its value, behind "KEY=" where another key than the attention varies, and
        behind "NAME:=" where it has an alias. That of a patch without a key is its name.
      value: the text of the key's value; of a patch "KEY=VALUE KEY=VALUE".
      entry: the text that it was read from.
    """

    label: str
    value: str
    entry: str

    @property
    def name(self) -> str:
        """Its alias, or its label where it has none."""
        return self.label.partition(_ALIAS)[0]


def choices(key: str, text: str) -> tuple[Choice, ...]:
    """Reads "scaled_dot,b:=performer:features=64" for the attention, "1,2,4" for another key, or named patches.

    Patches are "base:=,wide:=model.width=256 model.num_layers=2": a comma before NAME:= begins the next.

    Raises:
      Refused: an alias has no name or no value, an attention does not exist, or a patch is none.
    """
    if key == PATCHES:
        return tuple(_patch(entry.strip()) for entry in _ENTRY.split(text) if entry.strip())
    entries = split_specs(text) if key == ATTENTION else _split(text)
    return tuple(_choice(key, entry) for entry in entries)


def patches(section: Any) -> tuple[Choice, ...]:
    """Returns the patches of the section `patches` of a comparison: a name, and a dict of keys or the text of them.

    A ConfigDict sorts its keys: the empty patch, where there is one, comes first and is the reference, the others come
    by their names.

    Raises:
      Refused: it is no such section.
    """
    if not isinstance(section, Mapping | ConfigDict):
        raise Refused(f"config.patches={section!r}: it is a section; give a dict of names, each with a dict of keys.")
    texts = {
        name: part if isinstance(part, str) else " ".join(f"{key}={text_of(value)}" for key, value in leaves(part))
        for name, part in ((name, section[name]) for name in section)
    }
    names = sorted(texts, key=lambda name: bool(texts[name]))
    return tuple(_patch(f"{name}{_ALIAS}{texts[name]}") for name in names)


def configured(chosen: ConfigDict) -> tuple[str, tuple[Choice, ...]]:
    """Returns what varies in a complete config by itself, and its choices: its patches, or else its attentions.

    Args:
      chosen: of a comparison, or of one experiment, whose attention is the one choice.

    Raises:
      Refused: as of `choices` and `patches`.
    """
    if chosen.get("patches") is not None:
        return PATCHES, patches(chosen.patches)
    specs = chosen.variants if config.is_comparison(chosen) else (chosen.model.get("attention"),)
    return ATTENTION, tuple(choice for spec in specs if spec is not None for choice in choices(ATTENTION, spec))


def tuned(section: Any, benchmarks: Collection[str], labels: Collection[str]) -> dict[tuple[str, str], dict[str, str]]:
    """Returns the rows of the key `tuned` of a comparison: what was tuned for a variant on a benchmark beforehand.

    Args:
      section: rows of a benchmark, a variant and "KEY=VALUE KEY=VALUE".
      benchmarks: of the comparison.
      labels: of its variants.

    Raises:
      Refused: it is no such table, names what there is not or the same twice, or a key may not differ.
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in section:
        if not isinstance(row, tuple | list) or len(row) != 3 or not all(isinstance(word, str) for word in row):
            raise Refused(f"config.tuned: {row!r} is no row: give (benchmark, variant, 'KEY=VALUE KEY=VALUE').")
        benchmark, label, text = row
        for kind, name, known in (("benchmark", benchmark, benchmarks), ("variant", label, labels)):
            if name not in known:
                raise Refused(f"config.tuned: there is no {kind} {name!r}.{did_you_mean(name, known)}")
        if (benchmark, label) in found:
            raise Refused(f"config.tuned has {label} on {benchmark} twice: name it once.")
        words = split(text, " \t\n")
        if not words or not all("=" in word for word in words):
            raise Refused(f"config.tuned: {text!r} of {label} on {benchmark}: give KEY=VALUE, such as optimizer.b1=.9.")
        found[benchmark, label] = {key: value for key, _, value in (word.partition("=") for word in words)}
        for key in found[benchmark, label]:
            check_tuned_key(key, said=f"config.tuned: {key}")
    return found


def _choice(key: str, entry: str) -> Choice:
    name, sign, value = entry.partition(_ALIAS)
    if not sign:
        name, value = "", entry
    elif not name.strip().isidentifier() or not value.strip():
        raise Refused(f"variant {entry!r}: give NAME:=VALUE, such as again:=scaled_dot.")
    value = value.strip()
    if key == ATTENTION:
        claims_of(value)
    plain = value if key == ATTENTION else f"{key}={value}"
    alias = f"{name.strip()}{_ALIAS}" if sign else ""
    return Choice(f"{alias}{plain}", value, f"{alias}{value}")


def _patch(entry: str) -> Choice:
    name, sign, text = entry.partition(_ALIAS)
    words = split(text, " \t\n")
    keys = [word.partition("=")[0] for word in words]
    if not sign or not name.strip().isidentifier() or not all("=" in word for word in words):
        raise Refused(
            f"variant {entry!r}: a patch is NAME:=KEY=VALUE KEY=VALUE, such as wide:=model.width=256, and NAME:= for "
            "the config as it is."
        )
    for key in keys:
        check_key(key, said=f"variant {entry!r}: {key}")
        if keys.count(key) > 1:
            raise Refused(f"variant {entry!r} sets {key} twice: set it once.")
    for word in words:
        key, _, chosen = word.partition("=")
        # What a model may have in the place of a variant: nothing, or one context for all tokens.
        if key == ATTENTION and chosen not in (NONE, STATIC):
            claims_of(chosen)
    value = " ".join(words)
    label = f"{name.strip()}{_ALIAS}{value}"
    return Choice(label if words else name.strip(), value, label)


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
      key: what varies.
      labels: of the choices, in their order; one that is there twice is left for the plan to refuse.
      values: of the choices, by their labels.
      benchmarks: the complete config of each.
      tuned: benchmark and label -> the keys that were tuned for the choice beforehand, with the texts of their values.
    """

    def __init__(
        self,
        key: str,
        chosen: tuple[Choice, ...],
        benchmarks: Mapping[str, ConfigDict],
        tuned: Mapping[tuple[str, str], Mapping[str, str]] | None = None,
    ):
        """Makes them.

        Args:
          key: what varies, a dotted key of an experiment's config, or `PATCHES`.
          chosen: its values.
          benchmarks: the complete config of each.
          tuned: what `tuned` reads: the keys that were tuned beforehand for a choice on a benchmark.

        Raises:
          Refused: the key decides what is measured, is no key of a benchmark, or does not take a value; two patches
            make one config.
        """
        if key != PATCHES:
            check_key(key, said=f"--vary={key}")
        self.key, self.benchmarks = key, benchmarks
        places = [(name, choice.label) for name in benchmarks for choice in chosen]
        self.tuned = {place: keys for place, keys in (tuned or {}).items() if place in places}
        self.labels = tuple(choice.label for choice in chosen)
        self.values = {choice.label: choice.value for choice in chosen}
        self._sections = {
            (*place, ""): _with(benchmarks[place[0]], self._patch(*place), owner=f"benchmark {place[0]}")
            for place in places
        }
        values = [choice.value for choice in chosen]
        self._entries = {choice.label: choice.entry for choice in chosen}
        self._again = {c.label for place, c in enumerate(chosen) if c.value in values[:place]}
        if key == PATCHES:
            self._check_apart()

    def entry_of(self, label: str) -> str:
        """Returns the text of a choice that `choices` reads again."""
        return self._entries[label]

    def patch(self, label: str) -> dict[str, str]:
        """Returns the keys that a choice sets, with the texts of their values."""
        if self.key != PATCHES:
            return {self.key: self.values[label]}
        words = split(self.values[label], " \t\n")
        return {key: value for key, _, value in (word.partition("=") for word in words)}

    def config_of(
        self, benchmark: str, label: str, seed: int, point: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Returns what `Experiment(**config)` takes.

        A value that was there before under another name, as in an A/A study, trains with seeds of its own, drawn from
        its label: with the same ones it would be the same run.

        Args:
          benchmark: its name.
          label: of the choice.
          seed: of the run.
          point: tuned keys with their values.

        Raises:
          Refused: a key of the point is none of the config, or does not take its value.
        """
        own = seed
        if label in self._again:
            own = int(hashlib.sha256(f"{label} {seed}".encode()).hexdigest(), 16) % (LARGEST_SEED + 1)
        place = (benchmark, label, point_name(point) if point else "")
        if place not in self._sections:
            keys = {key: text_of(value) for key, value in (point or {}).items()}
            part, owner = self.benchmarks[benchmark], f"benchmark {benchmark}"
            self._sections[place] = _with(part, {**self._patch(benchmark, label), **keys}, owner=owner)
        return {**self._sections[place], "seed": own}

    def _patch(self, benchmark: str, label: str) -> dict[str, str]:
        return {**self.tuned.get((benchmark, label), {}), **self.patch(label)}

    def _check_apart(self) -> None:
        for name in self.benchmarks:
            for place, label in enumerate(self.labels):
                for other in self.labels[:place]:
                    if self._sections[name, label, ""] == self._sections[name, other, ""]:
                        raise Refused(
                            f"variants {other!r} and {label!r} are the same on benchmark {name}: leave out one. "
                            "Aliases of one value, a:=X,b:=X, compare a config with itself."
                        )


def check_key(key: str, *, said: str) -> None:
    """Checks that the scores of two values of a key can be compared.

    Args:
      key: a dotted key.
      said: how the message names it.

    Raises:
      Refused: it decides what is measured, or is set in another way.
    """
    if key.partition(".")[0] in _OF_THE_MEASURE:
        raise Refused(
            f"{said} changes what is measured, so that the scores could not be compared: take a key of the model, the "
            "optimizer or the batch, or make benchmarks of it."
        )
    if key == "seed" or key.rpartition(".")[2] == "name":
        instead = "--seeds" if key == "seed" else "a config for each"
        raise Refused(f"{said}: use {instead} instead.")


def check_tuned_key(key: str, *, said: str) -> None:
    """Checks that every variant may have a value of its own of a key, and that the scores can be compared.

    Args:
      key: a dotted key.
      said: how the message names it.

    Raises:
      Refused: as of `check_key`, or the key gives a variant more data or more updates.
    """
    check_key(key, said=said)
    if key.partition(".")[0] in _OF_THE_BUDGET:
        raise Refused(f"{said} is the same for all variants, or they would not get the same: leave it out.")


def _with(part: ConfigDict, patch: Mapping[str, str], *, owner: str) -> dict[str, Any]:
    if ATTENTION in patch and "attention" not in part.model:
        raise Refused(f"model {part.model.name!r} of {owner} has no attention to exchange.")
    changed = copy.deepcopy(part)
    config.override(changed, patch, owner=owner)
    return config.plain(config.complete(changed, owner=owner))
