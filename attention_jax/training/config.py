"""Config files: loading one, spelling out its defaults, setting keys from the command line.

A config file is a Python file with `get_config(arg)` that returns an ml_collections ConfigDict. Its top-level keys are
the arguments of `Experiment`, its sections the keyword arguments of what they build. So a key that nothing reads cannot
exist, and every option of what is built is a key.
"""

import ast
import inspect
import typing
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from attention_jax import data, models, tasks
from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.base.options import (
    check_options,
    is_section,
    kinds,
    option_parameters,
    section_parameters,
    takes,
    words,
)
from attention_jax.base.python_file import load_python_file
from attention_jax.training.experiment import Experiment
from attention_jax.training.optimizer import build_optimizer, optimizers, own_options
from attention_jax.training.schedule import schedules
from attention_jax.training.sections import SECTIONS

# What the config file of a sweep has beside the sections of an experiment.
OF_SWEEP = ("space", "sweep")
# What that of a comparison may have, which the study reads.
OF_COMPARISON = ("tune", "tuned", "patches")
NAMED = {"data": data.dataset.data_sets, "model": models.models, "task": tasks.tasks}
PARAMETERS: dict[str, Callable[[Any], dict[str, inspect.Parameter]]] = {
    "data": option_parameters,
    "model": models.parameters_of,
    "task": option_parameters,
}


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
    config = read(spec)
    if any(key in config for key in OF_SWEEP):
        raise Refused(f"{spec} is a sweep (it has a space): use launch.py sweep.")
    return finish(without_sweep(config), overrides or {}, owner=spec)


def without_sweep(config: ConfigDict) -> ConfigDict:
    """Returns the config of the experiment that a sweep varies."""
    return ConfigDict({key: config[key] for key in config if key not in OF_SWEEP})


def finish(config: ConfigDict, overrides: Mapping[str, str], *, owner: str) -> ConfigDict:
    """Spells out every default of a config and sets keys: `load` of what was read before; the config is changed.

    Args:
      config: as a config file gives it.
      overrides: dotted keys and the text of their values.
      owner: how a message names it.

    Raises:
      Refused: a key or a value is wrong.
    """
    # A name decides which other keys there are, so names are set before the defaults are spelled out.
    for experiment in _experiments(config).values():
        if "optimizer" in experiment:
            experiment.optimizer = _with_names(experiment, "config")
    override(config, {key: text for key, text in overrides.items() if key.rpartition(".")[2] == "name"}, owner=owner)
    config = complete(config, owner=owner)
    override(config, overrides, owner=owner)
    # Once more, for the types of what was set.
    return complete(config, owner=owner).lock()


def complete(config: ConfigDict, *, owner: str) -> ConfigDict:
    """Returns a config with every key that may be set present.

    Args:
      config: the config of an experiment or a comparison.
      owner: how a message names it.

    Raises:
      Refused: it has a key that nothing reads, or lacks one that has no default.
    """
    if "benchmarks" in config:
        known = {"benchmarks", "variants", "seeds", *OF_COMPARISON}
        for key in config:
            if key not in known:
                raise Refused(f"{owner}: a comparison has no key {key!r}.{did_you_mean(key, known)}")
        if "variants" in config and "patches" in config:
            raise Refused(f"{owner}: it has variants and patches, and one of them varies: leave out the other.")
        varies = {} if "patches" in config else {"variants": ("scaled_dot",)}
        full = ConfigDict({**varies, "seeds": (0,), **_shallow(config)})
        full.benchmarks = ConfigDict(
            {
                name: _complete_experiment(part, owner=f"{owner} benchmark {name}", path=f"config.benchmarks.{name}")
                for name, part in _experiments(config).items()
            }
        )
        return full
    return _complete_experiment(config, owner=owner, path="config")


def is_comparison(config: ConfigDict) -> bool:
    """Returns whether a config is of a comparison and not of one experiment."""
    return "benchmarks" in config


def plain(config: ConfigDict) -> dict[str, Any]:
    """Returns a config as plain dicts and values, a fresh copy."""
    return config.to_dict()


def show(config: ConfigDict) -> str:
    """Returns a config as one "key = value" line for each key."""
    return "\n".join(f"{key} = {value!r}" for key, value in _flat(config))


def _experiments(config: ConfigDict) -> dict[str, ConfigDict]:
    """Returns the config of each experiment in a config, by the name of its benchmark ("" where there are none)."""
    if not is_comparison(config):
        return {"": config}
    benchmarks = _section(config, "benchmarks", "config")
    return {name: _section(benchmarks, name, "config.benchmarks") for name in benchmarks}


def _complete_experiment(config: ConfigDict, *, owner: str, path: str) -> ConfigDict:
    check_options(Experiment, config.to_dict(), owner=f"config {owner}")
    top = {key: value for key, value in option_parameters(Experiment).items() if key not in SECTIONS}
    full = _with_defaults(config, top, path)
    for section, catalogue in NAMED.items():
        full[section] = _named_section(config, section, catalogue.lookup, path)
    full.optimizer = _optimizer_section(config, path)
    for section, fields in SECTIONS.items():
        given = _section(config, section, path)
        _check_keys(f"{path}.{section}", given, option_parameters(fields))
        full[section] = _with_defaults(given, option_parameters(fields), f"{path}.{section}")
    return full


def read(spec: str) -> ConfigDict:
    """Returns what a config file gives, as it stands there; `finish` spells out the rest.

    Raises:
      Refused: the file cannot be used.
    """
    file, _, argument = spec.partition(".py:")
    path = Path(file + ".py") if argument or spec.endswith(".py:") else Path(spec)
    if not path.is_file():
        siblings = [str(sibling) for sibling in (path.parent if path.parent.is_dir() else Path()).glob("*.py")]
        raise Refused(f"there is no config file {str(path)!r}.{did_you_mean(str(path), siblings)}")
    module = load_python_file(path, kind="config file", module=f"config_{path.stem}")
    if not hasattr(module, "get_config"):
        raise Refused(f"config file {str(path)!r} has no function get_config: add one that returns a ConfigDict.")
    parameters = list(inspect.signature(module.get_config).parameters.values())
    if argument and not parameters:
        raise Refused(f"config file {str(path)!r} takes no argument, but {argument!r} was given after the colon.")
    if not argument and parameters and parameters[0].default is inspect.Parameter.empty:
        raise Refused(f"config file {str(path)!r} needs an argument, its {parameters[0].name!r}: give {path}:ARGUMENT.")
    config = module.get_config(argument) if argument else module.get_config()
    if not isinstance(config, ConfigDict):
        raise Refused(
            f"config file {str(path)!r}: get_config returns {type(config).__name__}: wrap it in ConfigDict(...)."
        )
    return config


def _shallow(config: Any) -> dict[str, Any]:
    return {key: config[key] for key in config}


def _flat(config: ConfigDict, prefix: str = "") -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = []
    for key in config:
        value = config[key]
        lines += _flat(value, f"{prefix}{key}.") if isinstance(value, ConfigDict) else [(f"{prefix}{key}", value)]
    return lines


def _section(config: ConfigDict, name: str, path: str) -> ConfigDict:
    section = config.get(name)
    if section is not None and not isinstance(section, ConfigDict):
        raise Refused(f"{path}.{name}={section!r}: it is a section; give a dict of its keys.")
    return ConfigDict() if section is None else section


def _named_section(config: ConfigDict, section: str, lookup: Callable[[str], Any], path: str) -> ConfigDict:
    given = _section(config, section, path)
    if "name" not in given:
        raise Refused(f"{path}.{section} has no name: say which {section} to build.")
    known = PARAMETERS[section](lookup(given.name))
    _check_keys(f"{path}.{section} ({given.name})", given, {"name": None, **known})
    return _with_defaults(given, known, f"{path}.{section}")


def _with_names(config: ConfigDict, path: str) -> ConfigDict:
    """Returns the section `optimizer` with the two names that have defaults."""
    given = _section(config, "optimizer", path)
    schedule = {"name": "warmup_cosine", **_shallow(_section(given, "schedule", f"{path}.optimizer"))}
    name = inspect.signature(build_optimizer).parameters["name"].default
    return ConfigDict({"name": name, **_shallow(given), "schedule": schedule})


def _optimizer_section(config: ConfigDict, path: str) -> ConfigDict:
    path, given = f"{path}.optimizer", _with_names(config, path)
    arguments = inspect.signature(build_optimizer).parameters
    common = {key: value for key, value in arguments.items() if key not in ("steps", "options")}
    builder, of_schedule = optimizers.lookup(given.name), schedules.lookup(given.schedule.name)
    _check_keys(path, given, {**common, **own_options(builder)})
    _check_keys(f"{path}.schedule", given.schedule, {"name": None, **own_options(of_schedule)})
    full = _with_defaults(given, own_options(builder), path)
    full = _with_defaults(full, common, path)
    full.schedule = _with_defaults(given.schedule, own_options(of_schedule), f"{path}.schedule")
    return full


def _check_keys(owner: str, given: ConfigDict, known: Mapping[str, Any]) -> None:
    for key, value in given.to_dict().items():
        if key not in known:
            raise Refused(f"{owner} has no key {key!r} (given {value!r}).{did_you_mean(key, known)}")


def _with_defaults(given: ConfigDict, parameters: Mapping[str, inspect.Parameter], path: str) -> ConfigDict:
    """Adds the default of every parameter that is not given, and checks the type of those that are.

    A parameter whose default is a dataclass is a section.
    """
    values = _shallow(given)
    for key, parameter in parameters.items():
        if is_section(parameter.default):
            section, known = _section(given, key, path), section_parameters(parameter.default)
            _check_keys(f"{path}.{key}", section, known)
            values[key] = _with_defaults(section, known, f"{path}.{key}")
        elif key in values or parameter.default is not inspect.Parameter.empty:
            values[key] = _typed(values.get(key, parameter.default), _bare(parameter.annotation), f"{path}.{key}")
    return ConfigDict(values)


def _bare(hint: Any) -> Any:
    """A type without its bounds."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def _typed(value: Any, hint: Any, key: str) -> Any:
    """Returns a value as its parameter takes it: a whole number as float, None as a placeholder that has the type."""
    plain = [kind for kind in kinds(hint) if kind in (int, float, str, bool)]
    if value is None and takes(hint, None):
        return placeholder(plain[0]) if plain else None
    if plain and not takes(hint, value):
        value = value.to_dict() if isinstance(value, ConfigDict) else value
        raise Refused(f"{key}={value!r}: it takes {' or '.join(map(words, plain))}.")
    return float(value) if float in plain and takes(int, value) else value


def locate(config: ConfigDict, dotted: str, *, owner: str) -> tuple[ConfigDict, str]:
    """Returns the section that holds a dotted key, and the key in it.

    Raises:
      Refused: there is none, or it is a section.
    """
    *sections, key = dotted.split(".")
    part = last = config
    for section in [*sections, key]:
        if not isinstance(part, ConfigDict) or section not in part:
            known = [name for name, _ in _flat(config)]
            raise Refused(f"{owner} has no key {dotted!r}.{_nearest_key(dotted, known)}")
        last, part = part, part[section]
    if isinstance(part, ConfigDict):
        raise Refused(f"config.{dotted} is a section: set one of its keys, such as config.{dotted}.{next(iter(part))}.")
    return last, key


def override(config: ConfigDict, overrides: Mapping[str, str], *, owner: str) -> None:
    """Sets keys of a complete config.

    Args:
      config: changed in place.
      overrides: dotted keys and the text of their values.
      owner: how a message names it.

    Raises:
      Refused: it has no such key, or the key does not take the value.
    """
    for dotted, text in overrides.items():
        section, key = locate(config, dotted, owner=owner)
        kind, before = section.get_type(key), section[key]
        value = parsed(text, kind)
        try:
            # A key that takes a number or a tuple, such as model.patch, has the type of the value that it has now;
            # whether it takes a tuple, `complete` knows.
            with section.ignore_type() if isinstance(value, tuple) else nullcontext():
                section[key] = value
        except (TypeError, ValueError) as error:
            raise Refused(f"config.{dotted}={text}: it takes {kind.__name__}, such as {before!r}.") from error


def _nearest_key(dotted: str, known: list[str]) -> str:
    """The nearest whole key; when none is near, the nearest last part says more than the list of all keys."""
    same_section = [name for name in known if name.rpartition(".")[0] == dotted.rpartition(".")[0]]
    return did_you_mean(dotted, same_section or known)


def parsed(text: str, kind: type) -> Any:
    """Returns the value that a text is, for a key that takes a kind; a text that is no Python value is itself."""
    if text.lower() == "none":
        return None
    if kind in (str, bool) and text.startswith("("):
        # One that takes a pattern too has the type of the value that it has now.
        kind = tuple
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
