#!/usr/bin/env python3
"""The command line: parses, dispatches to attention_jax.commands, returns the exit code.

0 done, 1 the run failed, 2 the input was wrong, 128 + N stopped by signal N after saving.
"""

import argparse
import difflib
import sys
from typing import Any, NoReturn

CONFIG: dict[str, Any] = {"required": True, "metavar": "FILE.py[:ARG]", "help": "the experiment's config file"}
WORKDIR: dict[str, Any] = {
    "metavar": "DIR",
    "help": "the folder of the run (default: runs/ and the name of the config file)",
}

KEYS = """\
Any key of a config is set with --config.a.b=VALUE, such as --config.model.attention=performer:features=64;
`show --config=FILE.py` prints every key."""
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
        stop = "" if message[-1] in ".?" else "."
        sys.stderr.write(f"error: {message}{stop} See {self.prog} --help.\n")
        raise SystemExit(2)


def add_train(parser: argparse.ArgumentParser) -> None:
    """Options of `train`."""
    parser.epilog = KEYS
    parser.add_argument("--config", **CONFIG)
    parser.add_argument("--workdir", **WORKDIR)


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Options of `compare`."""
    add_train(parser)
    parser.add_argument("--variants", metavar="A,B", help="attention variants; the first one is the reference")
    parser.add_argument("--seeds", metavar="0,1", help="the seeds of each")


def add_show(parser: argparse.ArgumentParser) -> None:
    """Options of `show`."""
    parser.add_argument("name", nargs="?", help="an attention variant, model, task or data set")
    parser.add_argument("--config", **{**CONFIG, "required": False})


def add_prepare(parser: argparse.ArgumentParser) -> None:
    """Options of `prepare`."""
    parser.add_argument("name", help="a data set of TFDS, such as fashion_mnist")
    parser.add_argument("--data_dir", metavar="DIR", help="where prepared sets go (default: TFDS_DATA_DIR)")
    parser.add_argument("--manual_dir", metavar="DIR", help="a folder that has the original files, to download nothing")


COMMANDS = {
    "train": ("train one experiment, or go on where it was stopped", add_train),
    "eval": ("the score of the last checkpoint of an experiment", add_train),
    "compare": ("train every variant on every benchmark with every seed, and report", add_compare),
    "list": ("the attention variants, models, tasks, data sets and experiments there are", lambda parser: None),
    "show": ("all that is known of one of them, or every key of a config", add_show),
    "prepare": ("prepare a data set of TFDS", add_prepare),
}


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
    for name, (summary, add_options) in COMMANDS.items():
        add_options(commands.add_parser(name, help=summary, description=summary, allow_abbrev=False))
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
