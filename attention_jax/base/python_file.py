"""A Python file of the user's own, run as a module."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from attention_jax.base.errors import Refused


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
