"""`launch.py list`."""

import argparse

from attention_jax.base.errors import Refused, did_you_mean

SUMMARY = (
    "the attention variants, mixers, position encodings, poolings, pairs, models, tasks, data sets and experiments "
    "there are"
)
EPILOG = ""
# The words for the kinds of things, with the name of each kind.
KINDS = {
    "variants": "attention variant",
    "mixers": "mixer",
    "positions": "position encoding",
    "pooling": "pooling",
    "pairs": "pair",
    "models": "model",
    "tasks": "task",
    "slicings": "slicing",
    "data": "data set",
    "experiments": "experiment",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares its options."""
    parser.add_argument("kind", metavar="KIND", nargs="?", help=f"one kind alone: {', '.join(KINDS)}")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="tables, or all of it for a program")


def run(options: argparse.Namespace, line: str) -> int:
    """Prints the tables, or JSON."""
    if options.kind not in (None, *KINDS):
        raise Refused(f"list knows no kind {options.kind!r}.{did_you_mean(options.kind, KINDS)}")
    from attention_jax.cli.listing import print_json, print_list

    kinds = [KINDS[options.kind]] if options.kind else list(KINDS.values())
    print_json(kinds) if options.format == "json" else print_list(kinds)
    return 0
