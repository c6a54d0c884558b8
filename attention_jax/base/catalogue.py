"""Names to builders: one decorator at the definition, no list to edit elsewhere."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.base.options import check_options

Builder = TypeVar("Builder", bound=Callable[..., Any])


class Catalogue(Generic[Builder]):
    """The builders of one kind of thing ("model", "task" ...), found by importing every module of a package.

    A name is the builder's own `__name__` unless another is given; two builders of one name are an error, raised at the
    second definition.
    """

    def __init__(self, kind: str, package: str):
        self.kind = kind
        self._package = package
        self._builders: dict[str, Builder] = {}
        self._aliases: dict[str, str] = {}
        self._discovered = False

    def register(self, builder: Builder, *, name: str | None = None, aliases: Iterable[str] = ()) -> Builder:
        """Adds `builder` under its own name, or `name`, and returns it unchanged (use as a decorator).

        Who looks for it by one of its `aliases`, which are no names, is told the name.

        Raises:
          Refused: the name is taken.
        """
        name = name or builder.__name__
        if name in self._builders:
            owner = self._builders[name].__module__
            raise Refused(f"{self.kind} {name!r} is already registered, by {owner}: choose another name.")
        self._builders[name] = builder
        self._aliases |= dict.fromkeys(aliases, name)
        return builder

    def names(self) -> list[str]:
        """Returns every registered name, sorted."""
        self._discover()
        return sorted(self._builders)

    def aliases(self) -> dict[str, str]:
        """Returns each alias with the name that it is registered by."""
        self._discover()
        return dict(self._aliases)

    def lookup(self, name: str) -> Builder:
        """Returns the builder registered as `name`.

        Raises:
          Refused: nothing has that name; the message gives the nearest one, or the name of what has it as an alias.
        """
        self._discover()
        if name not in self._builders and name in self._aliases:
            raise Refused(f"{self.kind} {name!r} is called {self._aliases[name]!r} here: give that name.")
        if name not in self._builders:
            raise Refused(f"there is no {self.kind} {name!r}.{did_you_mean(str(name), self._builders)}")
        return self._builders[name]

    def build(self, name: str, /, **options: Any) -> Any:
        """Calls the builder `name` with `options`.

        Raises:
          Refused: unknown name, unknown option or missing option.
        """
        builder = self.lookup(name)
        check_options(builder, options, owner=f"{self.kind} {name!r}")
        return builder(**options)

    def _discover(self) -> None:
        if self._discovered:
            return
        package = importlib.import_module(self._package)
        for module in pkgutil.walk_packages(package.__path__, prefix=f"{self._package}."):
            importlib.import_module(module.name)
        self._discovered = True
