"""How a comparison is tuned: the settings from the command and the config, checked, and the space of each variant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.base.options import check_options, check_types
from attention_jax.data.seeds import check_seed
from attention_jax.kernels.specs import parse_spec
from attention_jax.study.comparison.tuning import search_seed
from attention_jax.study.comparison.tuning_search import Search, make_search
from attention_jax.study.comparison.variation import ATTENTION, Variation, check_tuned_key
from attention_jax.study.search.base_config import Base
from attention_jax.study.search.domains import Choice, Options
from attention_jax.study.search.samplers import make_sampler
from attention_jax.study.search.space import Points, Space, read_space


@dataclass(frozen=True)
class Settings:
    """The section `tune` of a comparison; each but the seed is an option of the command too.

    Attributes:
      space: what is tuned, as of a sweep.
      trials: how many each variant gets on each benchmark; of a grid all of its points.
      sampler: "grid", "tpe", "random" or "quasi_random"; None is "grid" where all are lists, else "tpe".
      seed: of the sampler, and what the seed of the trials is drawn from.
    """

    space: Any
    trials: int | None = None
    sampler: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Tuning:
    """A budget for each variant on each benchmark.

    Attributes:
      spaces: (benchmark, variant) -> what is searched.
      rising: benchmark -> whether a higher score is better.
      sampler: its name.
      seed: of the sampler.
      trials: how many each gets.
      keys: that are tuned for all, beside what varies.
    """

    spaces: Mapping[tuple[str, str], Space | Points]
    rising: Mapping[str, bool]
    sampler: str
    seed: int
    trials: int
    keys: tuple[str, ...]

    def search(self, benchmark: str, variant: str) -> Search:
        """Returns a new search of one variant on one benchmark."""
        return make_search(
            self.spaces[benchmark, variant],
            sampler=self.sampler,
            seed=self.seed,
            trials=self.trials,
            rising=self.rising[benchmark],
        )


def read_tuning(of_file: Any, given: Mapping[str, Any], variation: Variation, seeds: Sequence[int]) -> Tuning | None:
    """Returns how a comparison is tuned; None where it is not.

    Args:
      of_file: the section `tune` of its config; None where it has none.
      given: fields of `Settings` in place of the file's; None is not given, and an empty space is no tuning.
      variation: the variants and the benchmarks.
      seeds: that are reported.

    Raises:
      Refused: a setting cannot be, or the space would change what is measured or what is compared.
    """
    if of_file is not None and not isinstance(of_file, Mapping | ConfigDict):
        raise Refused(f"config.tune={of_file!r}: it is a section; give a dict with a space.")
    section = {} if of_file is None else {key: of_file[key] for key in of_file}
    options = {**section, **{key: value for key, value in given.items() if value is not None}}
    if not options or given.get("space") == "":
        return None
    check_options(Settings, {"space": None, **options}, owner="config.tune")
    if "space" not in options:
        said = ", ".join(f"{key}={value}" for key, value in options.items())
        raise Refused(f"{said}: nothing is tuned: give --tune=KEY=RANGE, such as optimizer.learning_rate=[1e-3,3e-3].")
    check_types(Settings, options, owner="config.tune")
    settings = Settings(**options)
    check_seed(settings.seed, name="tune.seed")
    if (mine := search_seed(settings.seed)) in seeds:
        raise Refused(f"seed {mine} is that of the tuning: leave it out, or give another tune.seed.")
    return _tuning(settings, variation)


def _tuning(settings: Settings, variation: Variation) -> Tuning:
    space = read_space(settings.space)
    _check_keys(space, variation)
    bases = {name: Base(part, {}, f"--tune: benchmark {name}") for name, part in variation.benchmarks.items()}
    checked = {name: base.check(space) for name, base in bases.items()}
    spaces = {
        (name, label): _of_variant(checked[name], label, variation) for name in checked for label in variation.labels
    }
    sampler = settings.sampler or ("grid" if _is_grid(space) else "tpe")
    make_sampler(sampler, seed=settings.seed)
    trials = _of_grid(spaces, settings) if sampler == "grid" else _drawn(space, sampler, settings.trials)
    rising = {name: base.task.higher_is_better for name, base in bases.items()}
    keys = tuple(key for key in _keys(space) if key != variation.key)
    return Tuning(spaces, rising, sampler, settings.seed, trials, keys)


def _check_keys(space: Space | Points, variation: Variation) -> None:
    for key in _keys(space):
        check_tuned_key(key, said=f"--tune: {key}")
        for label in variation.labels:
            if key in variation.patch(label) and not (key == variation.key == ATTENTION and isinstance(space, Space)):
                raise Refused(f"--tune: {key} is what varies (in {label}): tune another key, or vary another.")


def _of_variant(space: Space | Points, label: str, variation: Variation) -> Space | Points:
    """The space of one variant: the ranges of options hold for the attention whose options they are."""
    if isinstance(space, Points) or variation.key != ATTENTION or ATTENTION not in space.domains:
        return space
    of_name = _options_of(space.domains[ATTENTION], variation)
    name, fixed = parse_spec(variation.values[label])
    domains = {key: domain for key, domain in space.domains.items() if key != ATTENTION}
    if name in of_name:
        for option in of_name[name]:
            if option in fixed:
                raise Refused(f"--tune: variant {label} sets {option}, which is tuned: name it {name}.")
        options = {**{key: str(value) for key, value in fixed.items()}, **of_name[name]}
        domains[ATTENTION] = Choice((Options(name, tuple(options.items())),))
    if not domains:
        raise Refused(f"--tune: nothing of variant {label} is tuned: give a key of every variant too.")
    return Space(domains)


def _options_of(domain: Any, variation: Variation) -> dict[str, dict[str, Any]]:
    """Variant -> its options that are tuned, and those that stand beside them."""
    names = [parse_spec(value)[0] for value in variation.values.values()]
    found: dict[str, dict[str, Any]] = {}
    for value in domain.values:
        if not isinstance(value, Options):
            raise Refused(
                f"--tune: {ATTENTION}={value} is what varies: give an option of a variant a range, such as "
                "[performer:features=int(16,64)]."
            )
        if value.name not in names:
            raise Refused(f"--tune: {value} is of no variant that is compared.{did_you_mean(value.name, names)}")
        found[value.name] = dict(value.options)
    return found


def _of_grid(spaces: Mapping[tuple[str, str], Space | Points], settings: Settings) -> int:
    counts = {pair: len((s if isinstance(s, Points) else s.points()).points) for pair, s in spaces.items()}
    (_, first), (_, other) = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if len(set(counts.values())) > 1:
        raise Refused(
            f"--tune: the grid of {first} has {min(counts.values())} points and that of {other} "
            f"{max(counts.values())}, and each gets the same: give --trials=N with --sampler=tpe or random."
        )
    trials = next(iter(counts.values()))
    if settings.trials not in (None, trials):
        raise Refused(
            f"trials={settings.trials}: the grid has {trials} points and each is tried: leave it out, or give "
            "--sampler=tpe or random."
        )
    return trials


def _drawn(space: Space | Points, sampler: str, trials: int | None) -> int:
    if isinstance(space, Points):
        raise Refused(f"--tune: the space is {space}, and {sampler} draws from ranges: give --sampler=grid.")
    if trials is None:
        raise Refused(f"--tune: {space} is no grid: give --trials=N, which each variant gets on each benchmark.")
    if trials < 1:
        raise Refused(f"trials={trials}: give at least 1.")
    return trials


def _is_grid(space: Space | Points) -> bool:
    return isinstance(space, Points) or all(map(_is_list, space.domains.values()))


def _is_list(domain: Any) -> bool:
    return isinstance(domain, Choice) and all(
        all(map(_is_list, value.searched().values())) for value in domain.values if isinstance(value, Options)
    )


def _keys(space: Space | Points) -> Sequence[str]:
    return list(space.domains) if isinstance(space, Space) else space.keys
