#!/usr/bin/env python3
"""The command line: parses, dispatches to attention_jax.commands, returns the exit code.

0 done, 1 the run failed, 2 the input was wrong, 128 + N stopped by signal N after saving.
"""

import argparse
import difflib
import sys
from typing import NoReturn

from attention_jax.command_line import COMMANDS, KEYS

EPILOG = f"""{KEYS} Exit codes: 0 done, 1 the run failed, 2 the input was wrong, 128 + N stopped
by signal N (130 Ctrl-C, 143 SIGTERM) after saving: the same command goes on from there."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, with the nearest right word, and exits with 2."""

    def error(self, message: str) -> NoReturn:
        """Prints the message and exits."""
        if "invalid choice" in message:
            word = message.split("'")[1]
            near = difflib.get_close_matches(word, COMMANDS, n=1)
            message = f"there is no command {word!r}." + (f" Did you mean {near[0]!r}?" if near else "")
        sys.stderr.write(f"error: {message}{'' if message[-1] in '.?' else '.'} See {self.prog} --help.\n")
        raise SystemExit(2)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the command with its options, and in `overrides` the config keys that are set, dotted key to text."""
    overrides: dict[str, str] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word.startswith("--config."):
            key, equals, value = word.removeprefix("--config.").partition("=")
            overrides[key] = value if equals else next(words, "")
        else:
            rest.append(word)
    parser = Parser(prog="launch.py", description="Launch experiments, compare attention variants.", epilog=EPILOG,
                    formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for name, (summary, epilog, options) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary, epilog=epilog, allow_abbrev=False)
        for flag, settings in options.items():
            command.add_argument(flag, **settings)
    parsed = parser.parse_args(rest)
    if overrides and not getattr(parsed, "config", None):
        parser.error(f"--config.{next(iter(overrides))} is set, but there is no --config=FILE.py.")
    parsed.overrides = overrides
    return parsed


def main(arguments: list[str]) -> int:
    """Runs one command and returns the exit code."""
    parsed = parse(arguments)
    # Imported here, since it imports JAX: --help and usage errors answer at once.
    from attention_jax import commands

    return commands.run(parsed, arguments)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
