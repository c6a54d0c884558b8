"""What is registered of one kind, by spec.

A spec is a name with options, "performer:features=256,seed=1", or a file of the user's own with the name of what it
registers, "my_file.py:my_attention:window=8".
"""

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from attention_jax.base.catalogue import Catalogue
from attention_jax.base.errors import Refused
from attention_jax.base.options import check_options, check_types
from attention_jax.base.python_file import user_file
from attention_jax.kernels.source import Source

Made = TypeVar("Made")
Build = Callable[..., Any]


@dataclass(frozen=True)
class Definition:
    """What is kept of a function that is registered.

    Attributes:
      kind: the name of its kind.
      source: where it was published.
      claims: what it says of itself.
      aliases: other names that papers and packages have for it.
      recipe: what its paper puts around it; None of a kind that stands alone.
    """

    kind: str
    source: Source
    claims: Any
    aliases: tuple[str, ...] = ()
    recipe: Any = None


@dataclass(frozen=True, eq=False)
class Chosen(Generic[Made]):
    """A registered function with its options chosen.

    Attributes:
      spec: the string that chose it.
      name: the name that it is registered by, with its file where it is of one.
      made: what the function returns.
      claims: what it says of itself.
      source: where it was published.
      doc: its description.
      options: name to (default, chosen value) of every option.
      module: the module of the function.
      aliases: other names that papers and packages have for it.
      recipe: what its paper puts around it; None of a kind that stands alone.
    """

    spec: str
    name: str
    made: Made
    claims: Any
    source: Source
    doc: str
    options: dict[str, tuple[Any, Any]]
    module: str
    aliases: tuple[str, ...] = ()
    recipe: Any = None


class Kind:
    """What is registered of one kind: the files of a package of the library, and files of the user's own.

    Attributes:
      name: what one of them is called, such as "attention variant".
      catalogue: those of the library.
      example: the name of one.
    """

    def __init__(self, name: str, catalogue: Catalogue, *, example: str):
        self.name, self.catalogue, self.example = name, catalogue, example

    def register(
        self, *, source: Source, claims: Any, aliases: tuple[str, ...] = (), recipe: Any = None
    ) -> Callable[[Build], Build]:
        """Returns a decorator that registers a function by its name.

        The function takes its options as keyword arguments, each with a type and a default; its docstring is what
        `launch.py show NAME` prints.

        Args:
          source: where it was published.
          claims: what it says of itself; the contract tests hold it to every line.
          aliases: other names that papers and packages have for it, for who looks for it by one of them.
          recipe: what its paper puts around it.

        Raises:
          Refused: another one has the name.
        """

        def decorate(build: Build) -> Build:
            vars(build)["definition"] = Definition(self.name, source, claims, aliases, recipe)
            return self.catalogue.register(build, aliases=aliases)

        return decorate

    def choose(self, spec: str) -> Chosen[Any]:
        """Returns what a spec chooses.

        Raises:
          Refused: the name, an option or a value is wrong, or it is of another kind.
        """
        name, options = parse_spec(spec, what=self.name.split()[0], example=self.example)
        build = self._from_file(name) if ".py:" in name else self.catalogue.lookup(name)
        definition = definition_of(build)
        name = name.rpartition(":")[2]
        owner = f"{self.name.split()[-1]} {name!r}"
        check_options(build, options, owner=owner)
        check_types(build, options, owner=owner)
        defaults = {key: parameter.default for key, parameter in inspect.signature(build).parameters.items()}
        return Chosen(
            spec=spec,
            name=name,
            made=build(**options),
            claims=definition.claims,
            source=definition.source,
            doc=inspect.getdoc(build) or "",
            options={key: (default, options.get(key, default)) for key, default in defaults.items()},
            module=build.__module__,
            aliases=definition.aliases,
            recipe=definition.recipe,
        )

    def _from_file(self, name: str) -> Build:
        """Returns the function of FILE.py:NAME."""
        path, _, name = name.rpartition(":")
        what = self.name.split()[0]
        self.catalogue.names()  # The library's own names come first: a file cannot take one of them.
        builds = defined_in(Path(path), name, what=what)
        kinds = {key: definition_of(build).kind for key, build in builds.items()}
        if kinds.get(name) != self.name:
            mine = ", ".join(key for key, kind in kinds.items() if kind == self.name) or "none"
            other = f"; {name!r} is of the kind {kinds[name]!r}" if name in kinds else ""
            raise Refused(f"{path} registers no {what} {name!r}; it registers: {mine}{other}.")
        return builds[name]


def definition_of(build: Build) -> Definition:
    """Returns what is kept of a registered function."""
    return vars(build)["definition"]


def defined_in(path: Path, name: str, *, what: str) -> dict[str, Build]:
    """Returns what a file of the user's own registers, of any kind, by name.

    Args:
      path: the file.
      name: what is looked for, for the message.
      what: of which kind that is, for the message.

    Raises:
      Refused: there is no such file, or it is no Python. What the file itself raises goes through.
    """
    module = user_file(path, name, what=what)
    return {key: value for key, value in vars(module).items() if hasattr(value, "definition")}


def parse_spec(spec: str, *, what: str = "attention", example: str = "scaled_dot") -> tuple[str, dict[str, Any]]:
    """Splits a spec into the name, with its file where it has one, and the options as Python values.

    Args:
      spec: the string.
      what: it is of, for the message.
      example: of a name, for the message.

    Raises:
      Refused: it is not of the form NAME:option=value,option=value.
    """
    form = f"{what} {spec!r} is not of the form NAME or NAME:option=value,option=value"
    if not isinstance(spec, str) or not spec.strip():
        raise Refused(f"{form}: give a name, such as {example!r}.")
    head, given = spec.strip(), ""
    path, in_file, rest = head.partition(".py:")
    name, _, given = (rest if in_file else path).partition(":")
    options: dict[str, Any] = {}
    for piece in filter(None, given.split(",")):
        key, equals, value = piece.partition("=")
        if not equals or not key.strip().isidentifier():
            raise Refused(f"{form}: {piece!r} is not an option with its value.")
        if key.strip() in options:
            raise Refused(f"{form}: {key.strip()!r} is given twice.")
        options[key.strip()] = _literal(value.strip())
    return (f"{path}.py:{name}" if in_file else name), options


def split_specs(text: str) -> list[str]:
    """Splits "linear,performer:features=64,seed=1,uniform" into three specs: option=value goes on with its spec."""
    specs: list[str] = []
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        if specs and "=" in piece and ":" not in piece.partition("=")[0]:
            specs[-1] += f",{piece}"
        else:
            specs.append(piece)
    return specs


def _literal(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
