"""The options that a function takes by name: which there are, and whether values suit their types and bounds."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, Literal

from attention_jax.base.errors import Refused, did_you_mean


def option_parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the parameters of `function` that can be given by name, by name.

    What Flax adds to the fields of a module, `parent` and `name`, are not options.
    """
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function, eval_str=True).parameters
    return {key: value for key, value in parameters.items() if value.kind in named and key not in ("parent", "name")}


def is_section(default: Any) -> bool:
    """Returns whether the default of an option makes it a section: options of its own, in a dataclass."""
    return is_dataclass(default) and not isinstance(default, type)


def section_parameters(section: Any) -> dict[str, inspect.Parameter]:
    """Returns the parameters of a dataclass, by name, with the values of an instance as their defaults."""
    known = option_parameters(type(section))
    return {name: parameter.replace(default=getattr(section, name)) for name, parameter in known.items()}


def check_options(function: Callable[..., Any], options: Mapping[str, Any], *, owner: str) -> None:
    """Checks that `function` can be called with exactly these keyword `options`.

    Args:
      function: what is to be called.
      options: the keyword arguments.
      owner: how the message names it, such as "model 'gpt'".

    Raises:
      Refused: an option is unknown, or one without a default is missing.
    """
    known = option_parameters(function)
    for key, value in options.items():
        if key not in known:
            raise Refused(f"{owner} has no option {key!r} (given {value!r}).{did_you_mean(key, known)}")
    missing = [key for key, parameter in known.items() if parameter.default is parameter.empty and key not in options]
    if missing:
        raise Refused(f"{owner} needs {', '.join(map(repr, missing))}, which was not given.")


def check_types(function: Callable[..., Any], options: Mapping[str, Any], *, owner: str) -> None:
    """Checks that each of `options` is of the type that `function` declares for it.

    Raises:
      Refused: a value is of another type; the message names the option and the types that it takes.
    """
    hints = typing.get_type_hints(function)
    for key, value in options.items():
        hint = hints.get(key, Any)
        if not takes(hint, value):
            raise Refused(f"{owner} has option {key}={value!r}, which is not {words(hint)}.")


@dataclass(frozen=True)
class AtLeast:
    """The bound of an option, declared beside its type: `every: Annotated[int, AtLeast(1)]`."""

    least: int


def check_bounds(function: Callable[..., Any], options: Mapping[str, Any], *, owner: str) -> None:
    """Checks that none of `options` is less than `function` declares; None is of no size.

    Args:
      function: what declares them: a function, or a class with fields.
      options: the values, of the right types; those that are not given are not checked.
      owner: what stands before the name of an option in the message, such as "evaluation.".

    Raises:
      Refused: a value is too small.
    """
    for name, hint in typing.get_type_hints(function, include_extras=True).items():
        value = options.get(name)
        for bound in getattr(hint, "__metadata__", ()) if value is not None else ():
            if value < bound.least:
                raise Refused(f"{owner}{name}={value}: give a whole number of at least {bound.least}.")


def takes(hint: Any, value: Any) -> bool:
    """Returns whether an option of type `hint` takes `value`. A whole number is a float too; a bool is no number."""
    return any(_is(kind, value) for kind in kinds(hint))


def with_tuples(value: Any) -> Any:
    """Returns a config that was JSON, which has no tuples, with one for each list: options of a model are hashed."""
    if isinstance(value, dict):
        return {key: with_tuples(part) for key, part in value.items()}
    return tuple(map(with_tuples, value)) if isinstance(value, (list, tuple)) else value


def kinds(hint: Any) -> tuple[Any, ...]:
    """Returns the types of a union, or the one type."""
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def words(hint: Any) -> str:
    """Returns a type as a message names it: "int or None", "'half' or 'interleaved'"."""

    def name(kind: Any) -> str:
        if typing.get_origin(kind) is Literal:
            return " or ".join(map(repr, typing.get_args(kind)))
        return "None" if kind is type(None) else getattr(kind, "__name__", str(kind))

    return " or ".join(map(name, kinds(hint)))


def _is(kind: Any, value: Any) -> bool:
    if kind is Any:
        return True
    if typing.get_origin(kind) is Literal:
        return value in typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        entries = typing.get_args(kind)
        entries = entries[:1] * len(value) if entries[1:] == (...,) and isinstance(value, tuple) else entries
        return isinstance(value, tuple) and len(value) == len(entries) and all(map(takes, entries, value))
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind) if isinstance(kind, type) else False
