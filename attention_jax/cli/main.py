"""Parses a command line, runs its command and turns how it ended into an exit code.

0 done, 1 the run failed, 2 the input was wrong, 128 + N stopped by signal N after saving. What a user reads as the
answer goes to stdout; progress and errors go to stderr. Nothing here imports JAX, so that --help and usage errors
answer at once.
"""

import argparse
import difflib
import os
import shlex
import signal
import sys
from typing import NoReturn

from attention_jax.base.errors import Refused
from attention_jax.cli.arguments import KEYS
from attention_jax.cli.commands import COMMANDS, load

EPILOG = f"""{KEYS} Exit codes: 0 done, 1 the run failed, 2 the input was wrong, 128 + N stopped
by signal N (130 Ctrl-C, 143 SIGTERM) after saving: the same command goes on from there."""


class Help(argparse.RawDescriptionHelpFormatter):
    """Gives the names of the commands the room of their indentation, which argparse leaves out of its count."""

    def add_argument(self, action: argparse.Action) -> None:
        """Takes an argument, or all commands."""
        super().add_argument(action)
        longest = max(map(len, action.choices or ()), default=0)
        self._action_max_length = max(self._action_max_length, longest + 2 * self._indent_increment)


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


def parse(arguments: list[str], *, program: str = "launch.py") -> argparse.Namespace:
    """Returns the command with its options, and in `overrides` the config keys that are set, dotted key to text.

    Args:
      arguments: the words behind the program's name.
      program: that name.
    """
    overrides: dict[str, str] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word.startswith("--config."):
            key, equals, value = word.removeprefix("--config.").partition("=")
            overrides[key] = value if equals else next(words, "")
        else:
            rest.append(word)
    parsed = (parser := _parser(program)).parse_args(rest)
    if overrides and not getattr(parsed, "config", None) and not getattr(parsed, "data", None):
        parser.error(f"--config.{next(iter(overrides))} is set, but there is no --config=FILE.py.")
    parsed.overrides = overrides
    return parsed


def _parser(program: str) -> Parser:
    parser = Parser(
        prog=program,
        description="Launch experiments, compare attention variants.",
        epilog=EPILOG,
        formatter_class=Help,
    )
    of_each = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for name in COMMANDS:
        command = load(name)
        command.add_arguments(
            of_each.add_parser(
                name, help=command.SUMMARY, description=command.SUMMARY, epilog=command.EPILOG, allow_abbrev=False
            )
        )
    return parser


def main(arguments: list[str], *, program: str = "python launch.py") -> int:
    """Runs one command and returns the exit code.

    Args:
      arguments: the words behind the program's name.
      program: how the user started it, to say how to run the same again.
    """
    options = parse(arguments, program=program.rpartition(" ")[2])
    if getattr(options, "workers", None) == 0:
        # As workers have it, since cells are trained here: it is read when JAX is imported, which is later.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        return load(options.command).run(options, shlex.join([*program.split(), *arguments]))
    except Refused as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"{stop}." if str(stop) else "stopped.", file=sys.stderr)
        signum = getattr(stop, "signum", None)
        if signum is not None:
            # A second signal to a run: Python's own exit would wait for a step that may never return.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(128 + signum)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader has what it wanted (`launch.py list | head`); Python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def run_installed() -> NoReturn:
    """The program `attention-jax`, which pip installs: `launch.py` under another name."""
    try:
        sys.exit(main(sys.argv[1:], program="attention-jax"))
    except KeyboardInterrupt:
        sys.exit(130)
