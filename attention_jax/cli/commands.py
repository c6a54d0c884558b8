"""The commands by name, in the order of the help. A new one is a file beside this one, and its line here.

The files import what is heavy inside `run`: all of them are imported to print a help or to parse a line.
"""

import argparse
import importlib
from typing import Protocol, cast

# Name to module of this package.
COMMANDS = {
    "train": "train",
    "eval": "evaluate",
    "generate": "generate",
    "look": "look",
    "vectors": "vectors",
    "compare": "compare",
    "sweep": "sweep",
    "reproduce": "reproduce",
    "status": "status",
    "shard": "shard",
    "list": "list",
    "show": "show",
    "explain": "explain",
    "check": "check",
    "bench": "bench",
    "prepare": "prepare",
    "selftest": "selftest",
}


class Command(Protocol):
    """What the file of a command holds.

    Attributes:
      SUMMARY: what it does, in a line of the help.
      EPILOG: what its own help ends with.
    """

    SUMMARY: str
    EPILOG: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares its options."""

    def run(self, options: argparse.Namespace, line: str) -> int:
        """Runs it and returns the exit code.

        Args:
          options: what was parsed; `overrides` holds the config keys that are set, dotted key to text.
          line: the command line, to say how to run the same again.

        Raises:
          Refused: the input cannot be used.
        """


def load(name: str) -> Command:
    """Returns the command of one of the names in COMMANDS."""
    return cast(Command, importlib.import_module(f"{__package__}.{COMMANDS[name]}"))
