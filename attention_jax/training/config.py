"""Config files: loading one, spelling out its defaults, setting keys from the command line.

A config file is a Python file with `get_config(arg)` that returns an ml_collections ConfigDict. Its top-level keys are
the arguments of `Experiment`, its sections the keyword arguments of what they build. So a key that nothing reads cannot
exist, and every option of what is built is a key.
"""

import ast
import importlib.util
import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from attention_jax import data, models, tasks
from attention_jax.kernels.catalogue import check_options, option_parameters
from attention_jax.kernels.errors import Refused, did_you_mean
from attention_jax.training.experiment import SECTIONS, Experiment
from attention_jax.training.optimizer import build_optimizer, optimizers, own_options, schedules

NAMED = {"data": data.dataset.data_sets, "model": models.models, "task": tasks.tasks}


def load(spec: str, overrides: Mapping[str, str] | None = None) -> ConfigDict:
    """Loads a config file, spells out every default and sets keys.

    Args:
      spec: "FILE.py" or "FILE.py:ARG"; ARG is handed to `get_config`.
      overrides: dotted keys and the text of their values, such as {"model.width": "64"}.

    Returns:
      The config of an experiment, or of a comparison if it has the key `benchmarks`, with every key present, locked.

    Raises:
      Refused: the file cannot be used, or a key or a value is wrong.
    """
    config = _read(spec)
    overrides = dict(overrides or {})
    # A name decides which other keys there are, so names are set before the defaults are spelled out.
    _override(config, {key: text for key, text in overrides.items() if key.rpartition(".")[2] == "name"}, spec)
    config = complete(config, owner=spec)
    _override(config, overrides, spec)
    return config.lock()


def complete(config: ConfigDict, *, owner: str) -> ConfigDict:
    """Returns a config with every key that may be set present.

    Args:
      config: the config of an experiment or a comparison.
      owner: how a message names it.

    Raises:
      Refused: it has a key that nothing reads, or lacks one that has no default.
    """
    if "benchmarks" in config:
        known = {"benchmarks", "variants", "seeds"}
        for key in config:
            if key not in known:
                raise Refused(f"{owner}: a comparison has no key {key!r}.{did_you_mean(key, known)}")
        full = ConfigDict({"variants": ("scaled_dot",), "seeds": (0,), **_shallow(config)})
        full.benchmarks = ConfigDict(
            {name: complete(part, owner=f"{owner} benchmark {name}") for name, part in config.benchmarks.items()}
        )
        return full
    check_options(Experiment, _shallow(config), owner=f"config {owner}")
    top = {key: value for key, value in option_parameters(Experiment).items() if key not in SECTIONS}
    full = _with_defaults(config, top, Experiment.__init__)
    for section, catalogue in NAMED.items():
        full[section] = _named_section(section, config[section], catalogue.lookup)
    full.optimizer = _optimizer_section(config.optimizer)
    for section, fields in SECTIONS.items():
        given = ConfigDict(config.get(section) or {})
        _check_keys(f"config.{section}", given, option_parameters(fields))
        full[section] = _with_defaults(given, option_parameters(fields), fields)
    return full


def is_comparison(config: ConfigDict) -> bool:
    """Returns whether a config is of a comparison and not of one experiment."""
    return "benchmarks" in config


def plain(config: ConfigDict) -> dict[str, Any]:
    """Returns a config as plain dicts and values, a fresh copy."""
    return config.to_dict()


def show(config: ConfigDict) -> str:
    """Returns a config as one "key = value" line for each key."""
    return "\n".join(f"{key} = {value!r}" for key, value in _flat(config))


def _read(spec: str) -> ConfigDict:
    file, _, argument = spec.partition(".py:")
    path = Path(file + ".py") if argument or spec.endswith(".py:") else Path(spec)
    if not path.is_file():
        siblings = [str(sibling) for sibling in (path.parent if path.parent.is_dir() else Path()).glob("*.py")]
        raise Refused(f"there is no config file {str(path)!r}.{did_you_mean(str(path), siblings)}")
    specification = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if specification is None or specification.loader is None:
        raise Refused(f"config file {str(path)!r} is not a Python file: give one that ends in .py.")
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except SyntaxError as error:
        raise Refused(f"config file {str(path)!r} is not valid Python: {error}.") from error
    if not hasattr(module, "get_config"):
        raise Refused(f"config file {str(path)!r} has no function get_config: add one that returns a ConfigDict.")
    takes_argument = bool(inspect.signature(module.get_config).parameters)
    if argument and not takes_argument:
        raise Refused(f"config file {str(path)!r} takes no argument, but {argument!r} was given after the colon.")
    return module.get_config(argument) if argument else module.get_config()


def _shallow(config: Any) -> dict[str, Any]:
    return {key: config[key] for key in config}


def _flat(config: ConfigDict, prefix: str = "") -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = []
    for key in config:
        value = config[key]
        lines += _flat(value, f"{prefix}{key}.") if isinstance(value, ConfigDict) else [(f"{prefix}{key}", value)]
    return lines


def _named_section(section: str, given: ConfigDict, lookup: Callable[[str], Any]) -> ConfigDict:
    if "name" not in given:
        raise Refused(f"config.{section} has no name: say which {section} to build.")
    builder = lookup(given.name)
    known = option_parameters(builder)
    _check_keys(f"config.{section} ({given.name})", given, {"name": None, **known})
    return _with_defaults(given, known, builder)


def _optimizer_section(given: ConfigDict) -> ConfigDict:
    arguments = inspect.signature(build_optimizer).parameters
    common = {key: arguments[key] for key in ("name", "learning_rate", "clip_norm", "schedule")}
    builder = optimizers.lookup(given.get("name") or common["name"].default)
    _check_keys("config.optimizer", given, {**common, **own_options(builder)})
    full = _with_defaults(_with_defaults(given, own_options(builder), builder), common, build_optimizer)
    schedule = ConfigDict({"name": "warmup_cosine", **_shallow(given.get("schedule") or {})})
    of_schedule = schedules.lookup(schedule.name)
    _check_keys("config.optimizer.schedule", schedule, {"name": None, **own_options(of_schedule)})
    full.schedule = _with_defaults(schedule, own_options(of_schedule), of_schedule)
    return full


def _check_keys(owner: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for key in given:
        if key not in known:
            raise Refused(f"{owner} has no key {key!r} (given {given[key]!r}).{did_you_mean(key, known)}")


def _with_defaults(given: ConfigDict, parameters: Mapping[str, inspect.Parameter], builder: Any) -> ConfigDict:
    """Adds the default of every parameter that is not given; None becomes a placeholder of the type it may have."""
    full = ConfigDict(_shallow(given), convert_dict=True)
    hints = typing.get_type_hints(builder)
    for key, parameter in parameters.items():
        if full.get(key) is not None or parameter.default is inspect.Parameter.empty:
            continue
        kinds = [kind for kind in typing.get_args(hints[key]) if kind in (int, float, str, bool)]
        if key in full:
            del full[key]
        full[key] = placeholder(kinds[0]) if parameter.default is None and kinds else parameter.default
    return full


def _override(config: ConfigDict, overrides: Mapping[str, str], spec: str) -> None:
    for dotted, text in overrides.items():
        *sections, key = dotted.split(".")
        part = config
        for section in [*sections, key]:
            if not isinstance(part, ConfigDict) or section not in part:
                known = [name for name, _ in _flat(config)]
                raise Refused(f"{spec} has no key {dotted!r}.{_nearest_key(dotted, known)}")
            last, part = part, part[section]
        if isinstance(part, ConfigDict):
            raise Refused(
                f"config.{dotted} is a section: set one of its keys, such as config.{dotted}.{next(iter(part))}."
            )
        kind = last.get_type(key)
        try:
            last[key] = _parsed(text, kind)
        except (TypeError, ValueError) as error:
            raise Refused(f"config.{dotted}={text}: it takes {kind.__name__}, such as {part!r}.") from error


def _nearest_key(dotted: str, known: list[str]) -> str:
    """The nearest whole key; when none is near, the nearest last part says more than the list of all keys."""
    same_section = [name for name in known if name.rpartition(".")[0] == dotted.rpartition(".")[0]]
    return did_you_mean(dotted, same_section or known)


def _parsed(text: str, kind: type) -> Any:
    if text.lower() == "none":
        return None
    if kind is str:
        return text
    if kind is bool:
        return {"true": True, "false": False, "1": True, "0": False}[text.lower()] if text.lower() in (
            "true", "false", "1", "0"
        ) else text  # fmt: skip
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    return (value,) if kind is tuple and not isinstance(value, (tuple, list)) else value
