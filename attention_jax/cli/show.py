"""`launch.py show`."""

import argparse

from attention_jax.base.errors import Refused
from attention_jax.cli import arguments

SUMMARY = "all that is known of one of them, or every key of a config"
EPILOG = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    parser.add_argument("name", metavar="NAME", help="an attention variant, model, task or data set", nargs="?")
    arguments.add_config(parser, required=False)


def run(options: argparse.Namespace, line: str) -> int:
    """Prints what is known of the name, or the keys of the config.

    The room that trains is imported for a config alone, so that `show NAME` answers without Orbax.
    """
    if (options.name is None) == (options.config is None):
        raise Refused("show takes a name or --config=FILE.py: `launch.py list` prints the names.")
    if options.config is None:
        from attention_jax.cli.listing import print_one

        print_one(options.name)
    else:
        from attention_jax.training import config

        print(config.show(config.load(options.config, options.overrides, of_sweep=True)))
    return 0
