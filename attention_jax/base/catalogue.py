"""Names to builders: one decorator at the definition, no list to edit elsewhere."""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

from attention_jax.base.errors import Refused, did_you_mean
from attention_jax.base.options import check_options
from attention_jax.base.python_file import CONFIG_FILE, USER_FILE, user_file

# Where the module of a file of the user's own keeps what it registers, by kind and name.
_REGISTERED = "__registered__"

Builder = TypeVar("Builder", bound=Callable[..., Any])


class Catalogue(Generic[Builder]):
    """The builders of one kind of thing ("model", "task" ...), found by importing every module of a package.

    A name is the builder's own `__name__` unless another is given; two builders of one name are an error, raised at the
    second definition. What a file of the user's own registers is called FILE.py:NAME.
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
        name, module = name or builder.__name__, builder.__module__
        if module.startswith(USER_FILE):
            # Found by the path of its file, so that two files may use one name.
            vars(sys.modules[module]).setdefault(_REGISTERED, {})[self.kind, name] = builder
            return builder
        if name in self._builders and not self._again(name, module):
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
        """Returns the builder registered as `name`, or as NAME by a file, of FILE.py:NAME.

        Raises:
          Refused: nothing has that name; the message gives the nearest one, or the name of what has it as an alias.
        """
        if ".py:" in name:
            return self._from_file(name)
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

    def _from_file(self, name: str) -> Builder:
        path, _, wanted = name.rpartition(":")
        registered = vars(user_file(Path(path), wanted, what=self.kind)).get(_REGISTERED, {})
        if (self.kind, wanted) not in registered:
            mine = ", ".join(other for kind, other in registered if kind == self.kind) or "none"
            raise Refused(f"{path} registers no {self.kind} {wanted!r}; it registers: {mine}.")
        return registered[self.kind, wanted]

    def _again(self, name: str, module: str) -> bool:
        """Whether a config file registers what it did when it was run before."""
        return module.startswith(CONFIG_FILE) and self._builders[name].__module__ == module

    def _discover(self) -> None:
        if self._discovered:
            return
        package = importlib.import_module(self._package)
        for module in pkgutil.walk_packages(package.__path__, prefix=f"{self._package}."):
            importlib.import_module(module.name)
        self._discovered = True
