"""`launch.py show`."""

import argparse

from attention_jax.base.errors import Refused
from attention_jax.cli import arguments, running

SUMMARY = "all that is known of one of them, or every key of a config"
EPILOG = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    parser.add_argument(
        "name",
        metavar="NAME",
        help="the name, or the spec, of what `list` shows",
        nargs="?",
    )
    parser.add_argument(
        "--format", choices=("text", "bibtex"), default="text", help="bibtex: the entry of a variant's paper alone"
    )
    arguments.add_config(parser, required=False)


def run(options: argparse.Namespace, line: str) -> int:
    """Prints what is known of the name, or the keys of the config.

    The room that trains is imported for a config alone, so that `show NAME` answers without Orbax.
    """
    if (options.name is None) == (options.config is None and options.data is None):
        raise Refused("show takes a name, --config=FILE.py or --data=PATH: `launch.py list` prints the names.")
    if options.format == "bibtex" and options.name is None:
        raise Refused("--format=bibtex: a config is of no paper: give the name of an attention variant.")
    if options.name is not None:
        from attention_jax.cli.listing import print_bibtex, print_one

        print_bibtex(options.name) if options.format == "bibtex" else print_one(options.name)
    else:
        from attention_jax.training import config

        raw = config.without_sweep(running.raw(options))
        print(config.show(config.finish(raw, options.overrides, owner=running.owner(options))))
    return 0
