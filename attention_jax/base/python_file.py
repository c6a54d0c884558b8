"""A Python file of the user's own, run as a module."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from attention_jax.base.errors import Refused

# The names of the modules that are found by their paths start with it.
USER_FILE = "attention_file_"
# So do those of config files, which may be run again.
CONFIG_FILE = "config_"


def user_file(path: Path, wanted: str, *, what: str) -> ModuleType:
    """Returns the module of a file that registers things, run once.

    Args:
      path: the file.
      wanted: what is looked for in it, for the message.
      what: of which kind that is, for the message.

    Raises:
      Refused: there is no such file, or it is no Python. What the file itself raises goes through.
    """
    if not path.is_file():
        raise Refused(f"{what} file {str(path)!r} does not exist: give a Python file that registers {wanted!r}.")
    module = f"{USER_FILE}{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    return sys.modules.get(module) or load_python_file(path, kind=f"{what} file", module=module)


def load_python_file(path: Path, *, kind: str, module: str) -> ModuleType:
    """Runs the file as a new module, which stays in `sys.modules` unless it fails: then it is as if it never was.

    Args:
      path: the file, which exists.
      kind: what it is to the user, such as "config file", for the messages.
      module: the module's name.

    Raises:
      Refused: it is not a Python file. What the file itself raises goes through.
    """
    specification = importlib.util.spec_from_file_location(module, path)
    if specification is None or specification.loader is None:
        raise Refused(f"{kind} {str(path)!r} is not a Python file: give one that ends in .py.")
    loaded = importlib.util.module_from_spec(specification)
    sys.modules[module] = loaded
    try:
        specification.loader.exec_module(loaded)
    except BaseException as error:
        del sys.modules[module]
        if isinstance(error, SyntaxError):
            raise Refused(f"{kind} {str(path)!r} is not valid Python: {error}.") from error
        raise
    return loaded
